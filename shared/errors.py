"""The three ways work can fail on purpose; anything else that is raised is a bug and stays loud."""

from pydantic import ValidationError

SAID = 2000  # characters: where many fields are wrong, the first of them say it


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


def unreadable(error: ValidationError) -> str:
    """Each field that is wrong, and why; never with what it holds: it is logged, and may be a prompt or a key."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)[:SAID]
