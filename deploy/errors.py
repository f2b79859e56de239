"""What a command says instead of a stack trace."""


class Problem(Exception):
    """Something that the person at the terminal can mend: `what` happened, and the `remedy`."""

    def __init__(self, what: str, *, remedy: str) -> None:
        super().__init__(f"{what}\n  {remedy}")
        self.what = what
        self.remedy = remedy
