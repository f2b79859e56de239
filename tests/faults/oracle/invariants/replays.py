"""I1 for images that are made again; I4: what a manifest names is what was made, and can be made again."""

from collections import Counter
from collections.abc import Iterator

from tests.faults.oracle.evidence import Evidence, Violation

ENDS = {"judged", "failed", "cancelled", "uncertain"}
EXACT = "proof"  # the backend that draws what its seed says


def check(evidence: Evidence) -> Iterator[Violation]:
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
    # A worker may be lost three times over one of them, or the store be away for long; not over most.
    proofs = Counter(row["state"] for row in known.values() if row["backend"] == EXACT)
    if proofs["failed"] > proofs["judged"]:
        yield Violation(invariant="I4", subject=EXACT, what="most of what was made again failed", evidence=dict(proofs))
