"""I1 for images that are made again, and I4: what a manifest names is what was made, and can be made again."""

from collections import defaultdict
from collections.abc import Iterator

from tests.faults.oracle.evidence import Evidence, Violation
from tests.faults.oracle.invariants.ends import promised

ENDS = {"judged", "failed", "cancelled", "uncertain"}
EXACT = "proof"  # the backend that draws what its seed says


def check(evidence: Evidence) -> Iterator[Violation]:
    yield from _replays(evidence)
    yield from _pictures(evidence)


def _replays(evidence: Evidence) -> Iterator[Violation]:
    known = evidence.by("inference.replays", "replay_id")
    for line in evidence.replays:
        if line["replay_id"] not in known:
            yield Violation(invariant="I1", subject=line["replay_id"], what="was promised, and is gone", kind="lost")
    for replay, row in known.items():
        if row["state"] not in ENDS:
            what = f"is to be made again, and is {row['state']}"
            yield Violation(invariant="I1", subject=replay, what=what, kind="lost", evidence=dict(row))
        if row["backend"] == EXACT and row["verdict"] not in {None, "exact"}:
            what = f"was made again from its manifest, and is {row['verdict']}"
            yield Violation(invariant="I4", subject=row["asset_id"], what=what, evidence=dict(row))


def _pictures(evidence: Evidence) -> Iterator[Violation]:
    """Whoever was called was given as many pictures as were asked for, and no others."""
    called: defaultdict[str, set[int]] = defaultdict(set)
    for line in evidence.calls:
        called[line["attempt_id"]].add(line["pictures"])
    asked = {promised(line): line["pictures"] for line in evidence.accepted if "pictures" in line}
    requests = {row["job_id"]: row["request_id"] for row in evidence.table("catalog.jobs")}
    for row in evidence.table("inference.attempts"):
        wanted = asked.get(requests.get(row["job_id"], ""))
        given = called.get(row["attempt_id"])
        if wanted is not None and given and given != {wanted}:
            what = f"was asked of {wanted} pictures, and made of {sorted(given)}"
            yield Violation(invariant="I4", subject=row["job_id"], what=what, evidence=row["attempt_id"])
