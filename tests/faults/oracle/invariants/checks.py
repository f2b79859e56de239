"""Of what a check rejects.

I4: it found a fault in it, and says so in its own words; I1: once, unless somebody called the job off first; I3: it
stands nowhere, unless a person approved it all the same.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

from tests.faults.oracle.evidence import Event, Evidence, Row, Violation, is_anew, is_by_check
from tests.faults.oracle.invariants.ends import promised

Ended = partial(Violation, invariant="I1")
Stands = partial(Violation, invariant="I3")
Found = partial(Violation, invariant="I4")
BY = "check:"
CALLED_OFF = {"JobCancelled", "JobFailed"}


def check(evidence: Evidence) -> Iterator[Violation]:
    rejected: dict[str, list[Event]] = defaultdict(list)
    for event in filter(is_by_check, evidence.all_of("AssetRejected")):
        rejected[event.body["asset_version_id"]].append(event)
    pictures = {event.body["asset_version_id"]: event for event in evidence.all_of("ImageProcessed")}
    for version, picture in pictures.items():
        yield from _judged(evidence, picture, rejected.get(version, []))
    for version in rejected.keys() - pictures.keys():
        yield Found(subject=version, what="was rejected by a check, and nobody made it")
    yield from _approved(evidence, rejected)
    yield from _as_asked(evidence, pictures.values())


def finding(picture: Event) -> Row | None:
    """The first verdict that rejects."""
    verdicts = (one for one in picture.body["verdicts"] if one.get("rejecting") and not one["ok"])
    return next((one for one in verdicts if not one.get("advisory")), None)


def _judged(evidence: Evidence, picture: Event, told: list[Event]) -> Iterator[Violation]:
    verdict, version = finding(picture), picture.body["asset_version_id"]
    if len(told) > 1:
        yield Ended(subject=version, what=f"was rejected by checks {len(told)} times", kind="doubled")
    if verdict is None:
        if told:
            yield Found(subject=version, what="was rejected by a check that found nothing", evidence=told[0].body["by"])
    elif told:
        wanted = BY + verdict["check"], verdict.get("code") or "other", verdict["sentence"]
        body = told[0].body
        if (body["by"]["principal"], body["code"], body["reason"]) != wanted:
            yield Found(subject=version, what="was rejected in other words than it was judged", evidence=wanted)
    elif not _was_called_off(evidence, picture):
        yield Ended(subject=version, what=f"failed {verdict['check']}, and was not rejected", kind="lost")


def _was_called_off(evidence: Evidence, picture: Event) -> bool:
    if is_anew(picture) or picture.job is None:
        return False
    ends = {event.type for event in evidence.ends.get((picture.job, picture.run), [])}
    return bool(ends & CALLED_OFF) or evidence.last_run.get(picture.job, 1) > picture.run


def _approved(evidence: Evidence, rejected: dict[str, list[Event]]) -> Iterator[Violation]:
    by_people = {line["decision_id"] for line in evidence.decisions if line["answered"] == "taken"}
    for event in evidence.all_of("AssetApproved"):
        if event.body["asset_version_id"] in rejected and event.cause not in by_people:
            yield Stands(subject=event.subject, what="was rejected by a check, and approved by nobody")


def _as_asked(evidence: Evidence, pictures: Iterable[Event]) -> Iterator[Violation]:
    """What was asked for so that a check must find a fault in it, and nothing else."""
    wanted = {promised(line): line["fails"] for line in evidence.accepted if "fails" in line}
    for picture in pictures:
        verdict = finding(picture)
        found = verdict["check"] if verdict else None
        if picture.request in wanted and found != wanted[picture.request]:
            what = f"was to be rejected by {wanted[picture.request]}, and is by {found}"
            yield Found(subject=picture.body["asset_version_id"], what=what)
