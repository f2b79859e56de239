"""The three ways work can fail on purpose; anything else that is raised is a bug and stays loud."""


class Rejected(Exception):
    """The ask itself is wrong, so the same ask fails again: never retried."""

    def __init__(self, code: str, what: str, where: str = "", remedy: str = "") -> None:
        super().__init__(code, what, where, remedy)  # all four, so that it survives pickling to a child process
        self.code = code
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        sentence = f"{self.where}: {self.what}" if self.where else self.what
        return f"{sentence} ({self.remedy})" if self.remedy else sentence


class Unavailable(Exception):
    """A dependency is away; the same ask may succeed later: always retried."""

    def __init__(self, dependency: str, cause: object = "") -> None:
        super().__init__(dependency, str(cause))
        self.dependency = dependency
        self.cause = str(cause)

    def __str__(self) -> str:
        return f"{self.dependency} is unavailable: {self.cause}" if self.cause else f"{self.dependency} is unavailable"


class BlobMissing(Rejected):
    """The object store answers, and has nothing under this key."""

    def __init__(self, key: str) -> None:
        super().__init__("blob_missing", "nothing is stored under this key", key)
        self.args = (key,)  # what pickle calls __init__ with
        self.key = key
