"""What stops a local start."""

from deploy.errors import Problem


class CannotStart(Problem):
    """Something outside the program must change first."""
