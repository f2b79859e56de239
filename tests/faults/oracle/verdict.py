"""All invariants over all evidence, and what to say of it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tests.faults.oracle.evidence import STATUSES, Evidence, Violation, is_anew, is_by_check
from tests.faults.oracle.invariants import ALL
from tests.faults.oracle.invariants.twins import TWIN

EXAMPLES = 5
LINES = 1000


def judge(evidence: Evidence) -> list[Violation]:
    return [violation for check in ALL for violation in check(evidence)]


def summary(evidence: Evidence, violations: Sequence[Violation]) -> dict[str, Any]:
    kinds = Counter(violation.kind for violation in violations)
    by_invariant = Counter(violation.invariant for violation in violations)
    examples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for violation in violations:
        shown = examples[violation.invariant]
        if len(shown) < EXAMPLES:
            shown.append(asdict(violation))
    return {
        "requests": len(evidence.requests),
        "jobs": sum(row["jobs"] for row in evidence.requests.values()),
        "events": len(evidence.events),
        "lost": kinds["lost"],
        "doubled": kinds["doubled"],
        "violations": len(violations),
        "uncertain": uncertain(evidence),
        "ends": ends(evidence),
        "met": met(evidence),
        "by_invariant": dict(sorted(by_invariant.items())),
        "examples": dict(examples),
        "lines": [f"{one.invariant} {one.kind}: {one.subject}: {one.what}" for one in violations[:LINES]],
    }


def ends(evidence: Evidence) -> dict[str, int]:
    """How many jobs came to which end, failed ones by reason."""
    told = Counter(
        f"failed {row['reason']}" if STATUSES[row["rank"]] == "failed" else STATUSES[row["rank"]]
        for row in evidence.table("catalog.jobs")
    )
    return dict(told.most_common())


def met(evidence: Evidence) -> dict[str, int]:
    """How often what is rare came about: without it a verdict says nothing of it."""
    pictures = list(evidence.all_of("ImageProcessed"))
    return {
        "made anew": sum(map(is_anew, pictures)),
        "superseded": len({event.subject for event in evidence.all_of("AssetSuperseded")}),
        "rejected by a check": sum(map(is_by_check, evidence.all_of("AssetRejected"))),
        "twins": sum(not one["ok"] for event in pictures for one in event.body["verdicts"] if one["check"] == TWIN),
    }


def uncertain(evidence: Evidence) -> int:
    """Attempts, replays and publications of which nobody knows what became of them, and that say so."""
    tables = ("inference.attempts", "inference.replays", "publisher.publications")
    states = [row["state"] for name in tables for row in evidence.table(name)]
    return states.count("uncertain")


def text(told: dict[str, Any]) -> str:
    """For people."""
    names = ("requests", "jobs", "events", "lost", "doubled", "violations", "uncertain")
    lines = ["  ".join(f"{name} {told[name]:,}" for name in names)]
    for invariant, many in told["by_invariant"].items():
        lines.append(f"\n{invariant}: {many:,}")
        lines += [
            f"  {one['kind']}: {one['subject']}: {one['what']}" + (f" ({one['evidence']})" if one["evidence"] else "")
            for one in told["examples"][invariant]
        ]
    return "\n".join(lines)
