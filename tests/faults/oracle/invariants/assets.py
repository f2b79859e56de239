"""I2: as many assets as were asked for, less those whose job says why not; every id follows from what it names."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.faults.oracle import ids
from tests.faults.oracle.evidence import STATUSES, Event, Evidence, Violation, by_run, is_anew

Broken = partial(Violation, invariant="I2")
ONCE_A_RUN = ("PromptAssembled", "ImageGenerated", "ImageProcessed")
MOST_LOSSES = 8
EXPLAINED = {STATUSES.index("cancelled"), STATUSES.index("failed")}


def check(evidence: Evidence) -> Iterator[Violation]:
    yield from _ids(evidence)
    yield from _once(evidence)
    yield from _counts(evidence)
    yield from _given_up(evidence)


def _ids(evidence: Evidence) -> Iterator[Violation]:
    jobs = {
        ids.job(request, variant): request
        for request, row in evidence.requests.items()
        for variant in range(1, row["jobs"] + 1)
    }
    for event in evidence.events.values():
        if ids.event(event.type, event.subject, event.cause) != event.id:
            yield Broken(subject=event.id, what=f"the id of {event.type} does not follow from what it says")
        if event.job is not None and jobs.get(event.job) != event.request:
            yield Broken(subject=event.job, what=f"{event.type} names a job that its request does not have")
        for name, said, derived in _derived(event):
            if said != derived:
                yield Broken(subject=said, what=f"the {name} of {event.type} does not follow", evidence=derived)
    for line in evidence.accepted:
        if line["via"] == "http" and line.get("expects") == "accepted":
            request = ids.request_over_http(line["workspace"], line["principal"], line["key"])
            wanted = [ids.job(request, variant) for variant in range(1, line["variants"] + 1)]
            if (line["request_id"], line["jobs"]) != (request, wanted):
                yield Broken(
                    subject=line["request_id"], what="was answered with ids that do not follow", evidence=request
                )


def _derived(event: Event) -> Iterator[tuple[str, str, str]]:
    """Each id in the body, as said and as it follows."""
    body, job = event.body, event.job or ""
    if (asset := body.get("asset_id")) is not None and event.type in {"ImageGenerated", "ImageProcessed"}:
        yield "asset", asset, ids.asset(job, event.run)
    if event.type == "ImageProcessed":
        # Two attempts sign differently; what they sign is the same.
        hashes = [file.get("unsigned_sha256") or file["sha256"] for file in body["files"]]
        yield (
            "asset version",
            body["asset_version_id"],
            ids.asset_version(
                body["asset_id"], body["original"]["sha256"], hashes, asked=event.cause if is_anew(event) else None
            ),
        )
    for attempt in attempts_of(event):
        number = attempt.get("number", 1)
        yield "attempt", attempt["attempt_id"], ids.attempt(job, event.run, number)
    if "publication_id" in body:
        yield "publication", body["publication_id"], ids.publication(body["asset_version_id"], body["target"])


def attempts_of(event: Event) -> list[dict[str, Any]]:
    return [*event.body.get("attempts", ()), *([event.body["attempt"]] if "attempt" in event.body else ())]


def _once(evidence: Evidence) -> Iterator[Violation]:
    for kind in ONCE_A_RUN:
        for (job, run), told in by_run(event for event in evidence.all_of(kind) if not is_anew(event)).items():
            if len(told) > 1:
                facts = [event.id for event in told]
                yield Broken(subject=job, what=f"run {run} has {len(told)} {kind}", kind="doubled", evidence=facts)


def _counts(evidence: Evidence) -> Iterator[Violation]:
    made = by_run(evidence.all_of("ImageProcessed"))
    for row in evidence.table("catalog.jobs"):
        has_asset = (row["job_id"], row["run"]) in made
        if not has_asset and row["rank"] not in EXPLAINED:
            yield Broken(subject=row["job_id"], what=f"is {STATUSES[row['rank']]} without an asset", kind="lost")
    told = {(event.body["asset_id"], event.body["asset_version_id"]) for event in evidence.all_of("ImageProcessed")}
    ours = {row["workspace"] for row in evidence.requests.values()}
    shown = {
        (row["asset_id"], row["asset_version_id"])
        for row in evidence.table("catalog.assets")
        if row["workspace"] in ours
    }
    for _, version in told - shown:
        yield Broken(subject=version, what="the catalog does not have this asset", kind="lost")
    for _, version in shown - told:
        yield Broken(subject=version, what="no event says where this asset comes from")


def _given_up(evidence: Evidence) -> Iterator[Violation]:
    """A lease that was lost is no failure of the work: only after many is a job given up."""
    for event in evidence.all_of("JobFailed"):
        attempts = attempts_of(event)
        lost = all(attempt.get("seconds") is None and attempt["state"] == "failed" for attempt in attempts)
        if event.body.get("reason") == "internal" and lost and 0 < len(attempts) < MOST_LOSSES:
            what = f"was given up after {len(attempts)} attempts, of which none failed"
            yield Broken(subject=event.job or event.id, what=what, kind="lost")
