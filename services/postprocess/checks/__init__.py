"""Automatic checks: what was made → a verdict with a number, a limit and a sentence. Pure.

`files` judges what was written and needs no pixels; every other check is one file that looks at pixels, and is imported
by the child process only.
"""

from services.postprocess.checks.files import CHECKS, Subject, check

__all__ = ["CHECKS", "Subject", "check"]
