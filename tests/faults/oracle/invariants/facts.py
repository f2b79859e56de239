"""I4 too: a fact has one meaning wherever it stands, and stands both on Kafka and in the ledger, once."""

from collections.abc import Iterator
from functools import partial

from tests.faults.oracle.evidence import Evidence, Kept, Violation

Broken = partial(Violation, invariant="I4")
EPHEMERAL = frozenset({"JobProgressed"})
COMPACTED = frozenset({"LibraryItemChanged", "WorkspaceChanged"})  # Kafka keeps the newest of these only


def check(evidence: Evidence) -> Iterator[Violation]:
    for event_id, digests in evidence.differing.items():
        name = evidence.events[event_id].type
        yield Broken(subject=event_id, what=f"{name} was told with {len(digests)} meanings", kind="doubled")
    for event_id, headers in evidence.misnamed.items():
        yield Broken(subject=event_id, what="its headers say something else than its body", evidence=headers)
    kept: dict[str, Kept] = {}
    for fact in evidence.kept:
        if fact.type in EPHEMERAL:
            yield Broken(
                subject=fact.id, what=f"{fact.type} is kept, and nobody wants it tomorrow", evidence=fact.about
            )
        if fact.id in kept:
            yield Broken(subject=fact.id, what=f"{fact.type} is kept twice", kind="doubled")
        kept[fact.id] = fact
    yield from _told(evidence, kept)
    ours = {row["workspace"] for row in evidence.table("intake.workspaces")}
    for fact in kept.values():
        if fact.id not in evidence.events and fact.type not in COMPACTED and fact.workspace in ours:
            yield Broken(subject=fact.id, what=f"{fact.type} was kept and never told", kind="lost", evidence=fact.about)


def _told(evidence: Evidence, kept: dict[str, Kept]) -> Iterator[Violation]:
    refused = {letter.event for letter in evidence.letters if letter.group == "catalog"}
    for event in evidence.events.values():
        fact = kept.get(event.id)
        if event.type in EPHEMERAL or (fact is None and event.id in refused):
            continue
        if fact is None:
            yield Broken(subject=event.id, what=f"{event.type} was told and not kept", kind="lost", evidence=event.job)
        elif (fact.type, fact.digest) != (event.type, event.digest):
            yield Broken(subject=event.id, what=f"{event.type} is kept with another meaning than it was told with")
