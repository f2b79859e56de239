"""What stops a local start, said with its remedy."""


class CannotStart(Exception):
    """Something outside the program must change first: `remedy` says what."""

    def __init__(self, what: str, *, remedy: str) -> None:
        super().__init__(f"{what}\n  {remedy}")
        self.what = what
        self.remedy = remedy
