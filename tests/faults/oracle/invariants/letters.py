"""I7: everything that was set aside is listed, was replayed or dropped, and its job has an end; nothing of ours was."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle import ids
from tests.faults.oracle.evidence import ENDED, STATUSES, Evidence, Violation

Broken = partial(Violation, invariant="I7")
OVER = frozenset({"replayed", "dropped"})
RELEASE_FAILS = "this release fails on this job"  # as the harness lets one do


def check(evidence: Evidence) -> Iterator[Violation]:
    listed = evidence.by("catalog.dead_letters", "dead_letter_id")
    for letter in evidence.letters:
        if letter.event in evidence.events and RELEASE_FAILS not in letter.detail:
            kind = evidence.events[letter.event].type
            yield Broken(subject=letter.origin, what=f"is a whole {kind}, and {letter.group} set it aside", kind="lost")
        if ids.dead_letter(letter.origin, letter.group) not in listed:
            yield Broken(
                subject=letter.origin, what=f"was set aside by {letter.group}, and nobody sees it", kind="lost"
            )
    jobs = evidence.by("catalog.jobs", "job_id")
    for letter_id, row in listed.items():
        if ids.dead_letter(row["origin"], row["consumer_group"]) != letter_id:
            yield Broken(subject=letter_id, what="the id of the dead letter does not follow")
        if row["state"] not in OVER:
            yield Broken(subject=letter_id, what=f"is {row['state']} for ever", kind="lost", evidence=dict(row))
        job = jobs.get(row["about"])
        if job is not None and job["rank"] < ENDED:
            status = STATUSES[job["rank"]]
            yield Broken(subject=row["about"], what=f"its record was set aside, and it is {status}", kind="lost")
    yield from _poison(evidence)


def _poison(evidence: Evidence) -> Iterator[Violation]:
    """What nobody can use was noticed by somebody; and nothing stopped for it."""
    aside = Counter(letter.origin for letter in evidence.letters)
    for line in evidence.poison:
        origin = f"{evidence.prefix}{line['topic']}/{line.get('partition')}/{line.get('offset')}"
        if line["dies"] and not aside[origin]:
            yield Broken(subject=origin, what=f"was poison ({line['kind']}), and nobody set it aside", kind="lost")
