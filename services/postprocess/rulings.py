"""What verdicts come to under a rubric: which of them reject, and that an advisory one does nothing. Pure."""

from collections.abc import Sequence

from shared.contracts.check_names import CHECK_NAMES
from shared.events import Verdict
from shared.library.documents import Rubric

# Checks that take a picture beside the original, which may be gone.
LOOKING = frozenset({"label", "fidelity", "cut-out"})


def ruled(verdicts: Sequence[Verdict], rubric: Rubric) -> list[Verdict]:
    """The verdicts as the rubric weighs them.

    A check that it stops at or rejects by and that there is none of goes to a person: nothing is waved through, nothing
    refused unseen.
    """
    made = {verdict.check for verdict in verdicts}
    missing = sorted({*rubric.blocking_checks, *rubric.rejecting_checks} - CHECK_NAMES - made)
    return [*(_weighed(verdict, rubric) for verdict in verdicts), *map(_unknown, missing)]


def _weighed(verdict: Verdict, rubric: Rubric) -> Verdict:
    counts = not verdict.advisory
    return verdict.model_copy(
        update={
            "blocking": counts and (verdict.blocking or verdict.check in rubric.blocking_checks),
            "rejecting": counts and _is_found(verdict) and verdict.check in rubric.rejecting_checks,
        }
    )


def _is_found(verdict: Verdict) -> bool:
    """Whether a fault was seen. A check that could not look stops the picture with no number, and refuses nothing."""
    looked = verdict.number is not None or not verdict.blocking or verdict.check not in LOOKING
    return not verdict.ok and looked


def _unknown(name: str) -> Verdict:
    return Verdict(
        check=name, ok=False, blocking=True, sentence=f"There is no check {name}, so a person looks instead."
    )
