"""Everything is at rest: no fact unsent or refused, no work unfinished, nothing that waits for somebody."""

from collections.abc import Iterator

from tests.faults.oracle.evidence import Evidence, Violation


def check(evidence: Evidence) -> Iterator[Violation]:
    for name, many in evidence.unfinished.items():
        yield Violation(invariant="rest", subject=name, what=f"{many:,} rows", kind="lost", evidence=many)
