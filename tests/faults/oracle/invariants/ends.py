"""I1: every job of every accepted request has exactly one end: told on Kafka, kept in the ledger, shown to all."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle import ids
from tests.faults.oracle.evidence import ENDED, ENDS, STATUSES, Event, Evidence, Kept, Row, Run, Violation

Broken = partial(Violation, invariant="I1")
# A cancel that the catalog heard so long before it heard of the asset was there when the asset came.
SURELY_BEFORE = 2.0
REASONS = {
    *("invalid_request", "policy_refused", "unroutable", "missing_source", "model_timeout", "content_filtered"),
    *("backend_unavailable", "out_of_memory", "corrupt_output", "upload_failed", "expired", "internal"),
}


def check(evidence: Evidence) -> Iterator[Violation]:
    yield from _promises(evidence)
    yield from _requests(evidence)
    yield from _jobs(evidence)
    yield from _cancels(evidence)
    yield from _explained(evidence)
    for line in evidence.complaints:
        yield Broken(
            subject=str(line.get("key")), what=line["what"], evidence={n: line.get(n) for n in ("wanted", "got")}
        )


def promised(line: Row) -> str:
    """The id of the request that was promised, derived from what its sender calls it."""
    match line["via"]:
        case "http":
            return ids.request_over_http(line["workspace"], line["principal"], line["key"])
        case "kafka":
            return ids.request_over_kafka(line["workspace"], line["source"], line["ce_id"])
        case _:
            return ids.request_of_row(line["workspace"], line["batch"], line["key"], line["ask"])


def _promises(evidence: Evidence) -> Iterator[Violation]:
    known = evidence.by("intake.requests", "request_id")
    rejected = {event.subject for event in evidence.all_of("RequestRejected")}
    called_off = {(line["workspace"], line["batch"]) for line in evidence.batch_cancels}
    for line in evidence.accepted:
        if line.get("expects") is None:
            continue  # of a sender that did not say what it sent
        request = promised(line)
        row = known.get(request)
        if line["expects"] == "rejected":
            if row is None or row["state"] != "rejected" or request not in rejected:
                yield Broken(
                    subject=request, what="nobody answered an ask that is wrong", kind="lost", evidence=dict(line)
                )
        elif row is None:
            if line["via"] == "batch" and (line["workspace"], line["batch"]) in called_off:
                continue  # it had not been read yet
            yield Broken(
                subject=request, what="was promised, and intake does not know it", kind="lost", evidence=dict(line)
            )
        elif row["state"] != "accepted":
            yield Broken(subject=request, what="was right, and was refused", evidence=dict(line))
        elif row["jobs"] != line["variants"]:
            yield Broken(subject=request, what=f"has {row['jobs']} jobs of {line['variants']}", evidence=dict(line))


def _requests(evidence: Evidence) -> Iterator[Violation]:
    told: dict[str, list[Event]] = defaultdict(list)
    for event in evidence.all_of("RequestAccepted"):
        told[event.request or ""].append(event)
    yield from _completions(evidence)
    shown = evidence.by("catalog.requests", "request_id")
    completed = {event.id for event in evidence.all_of("RequestCompleted")}
    ended = _statuses(evidence)
    for request in told.keys() - evidence.requests.keys():
        yield Broken(subject=request, what="was told as accepted, and intake does not know it")
    for request, row in evidence.requests.items():
        facts = told.get(request, [])
        if not facts:
            yield Broken(subject=request, what="was accepted, and no event says so", kind="lost")
        elif len(facts) > 1:
            yield Broken(subject=request, what="was accepted twice", kind="doubled", evidence=[f.id for f in facts])
        elif facts[0].body["variants"] != row["jobs"]:
            yield Broken(subject=request, what="its event has another number of jobs")
        if request not in shown:
            yield Broken(subject=request, what="the catalog does not know it", kind="lost")
        elif not shown[request]["completed"]:
            yield Broken(subject=request, what="is not completed in the catalog", kind="lost")
        jobs = [ids.job(request, variant) for variant in range(1, row["jobs"] + 1)]
        if all(job in ended for job in jobs) and _completion(request, [ended[job] for job in jobs]) not in completed:
            yield Broken(subject=request, what="no event says that it is completed as it is", kind="lost")


def _completions(evidence: Evidence) -> Iterator[Violation]:
    """A request is said to be completed only when every job of it has ended."""
    for event in evidence.all_of("RequestCompleted"):
        jobs = evidence.requests.get(event.request or "", {}).get("jobs")
        counts = event.body["jobs"]
        if jobs is not None and (sum(counts.values()) != jobs or not counts.keys() <= set(STATUSES[ENDED:])):
            yield Broken(subject=event.subject, what=f"was said to be completed, with {jobs} jobs", evidence=counts)


def _statuses(evidence: Evidence) -> dict[str, tuple[str, int, str]]:
    """Job → itself, its run and its status, of those that have ended."""
    return {
        row["job_id"]: (row["job_id"], row["run"], STATUSES[row["rank"]])
        for row in evidence.table("catalog.jobs")
        if row["rank"] >= ENDED
    }


def _completion(request: str, jobs: list[tuple[str, int, str]]) -> str:
    """The id of the fact that exactly this has become of the request."""
    parts = [f"{job},{run},{status}" for job, run, status in sorted(jobs)]
    return ids.event("RequestCompleted", request, hashlib.sha256("\x1f".join(parts).encode()).hexdigest())


def _jobs(evidence: Evidence) -> Iterator[Violation]:
    given_up = {
        ids.drop_of(row["dead_letter_id"])
        for row in evidence.table("catalog.dead_letters")
        if row["state"] == "dropped"
    }
    shown = evidence.by("catalog.jobs", "job_id")
    kept: dict[Run, list[Kept]] = defaultdict(list)
    for fact in evidence.kept:
        if fact.type in ENDS:
            kept[fact.about, fact.run].append(fact)
    asked: set[str] = set()
    for request, accepted in evidence.requests.items():
        for variant in range(1, accepted["jobs"] + 1):
            job = ids.job(request, variant)
            asked.add(job)
            run = max(evidence.last_run.get(job, 1), 1)
            yield from _job(job, run, shown.get(job), evidence.ends.get((job, run), []), kept.get((job, run), []))
    for (job, run), told in evidence.ends.items():
        # Giving up the record that a job waits for ends it by hand, whatever else becomes of it.
        own = {event.id: event.type for event in told if event.cause not in given_up}
        if len(own) > 1:
            yield Broken(subject=job, what=f"run {run} ended {len(own)} times", kind="doubled", evidence=own)
    ours = {row["workspace"] for row in evidence.requests.values()}
    for job, row in shown.items():
        if job not in asked and row["workspace"] in ours:
            yield Broken(subject=job, what="is a job that nobody asked for", evidence=dict(row))


def _job(job: str, run: int, row: Row | None, told: list[Event], kept: list[Kept]) -> Iterator[Violation]:
    if row is None:
        yield Broken(subject=job, what="the catalog does not know it", kind="lost")
        return
    if row["rank"] < ENDED:
        yield Broken(subject=job, what=f"is {STATUSES[row['rank']]} for ever", kind="lost", evidence=dict(row))
        return
    for where, facts in (("on Kafka", told), ("in the ledger", kept)):
        ranks = [ENDS[fact.type] for fact in facts]
        if not ranks:
            yield Broken(subject=job, what=f"has no end {where}", kind="lost", evidence=dict(row))
        elif (max(ranks), run) != (row["rank"], row["run"]):
            said = f"is {STATUSES[row['rank']]} in run {row['run']}, and {STATUSES[max(ranks)]} in run {run} {where}"
            yield Broken(subject=job, what=said)


def _cancels(evidence: Evidence) -> Iterator[Violation]:
    told: dict[tuple[str | None, str | None], set[str]] = defaultdict(set)
    for event in evidence.all_of("CancelRequested"):
        told[event.request, event.job].add(event.id)
    for line in evidence.cancels:
        asked = told.get((line["request_id"], line["job_id"]), set())
        if line["answered"] == 202 and not asked:
            yield Broken(subject=line["request_id"], what="its cancel was taken, and no event says so", kind="lost")
    batches = evidence.by("intake.batches", "batch_id")
    for line in evidence.batch_cancels:
        state = batches.get(line["batch_id"], {"state": "unknown"})["state"]
        if line["answered"] == 202 and state != "cancelled":
            yield Broken(subject=line["batch_id"], what=f"its cancel was taken, and it is {state}", kind="lost")
    for (request, job), facts in told.items():
        if len(facts) > 1:
            yield Broken(
                subject=job or request or "", what="was asked to end twice", kind="doubled", evidence=sorted(facts)
            )
    yield from _disobeyed(evidence)


def _explained(evidence: Evidence) -> Iterator[Violation]:
    """Nothing ends unmade without somebody's word for it: a cancel, a decision, one of the twelve reasons."""
    called_off = {(event.request, event.job) for event in evidence.all_of("CancelRequested")}
    for event in evidence.all_of("JobCancelled"):
        if not called_off & {(event.request, event.job), (event.request, None)}:
            yield Broken(subject=event.job or event.id, what="was cancelled, and nobody asked for it", kind="lost")
    for event in evidence.all_of("JobFailed"):
        if event.body.get("reason") not in REASONS:
            yield Broken(subject=event.job or event.id, what=f"failed for the reason {event.body.get('reason')!r}")


def _disobeyed(evidence: Evidence) -> Iterator[Violation]:
    """Decided on, though the catalog had long heard that it was not wanted when it heard of the asset."""
    heard = {fact.about: fact.at for fact in evidence.kept if fact.type == "CancelRequested"}
    if not heard:
        return
    arrived: dict[str, float] = {}
    for fact in evidence.kept:
        if fact.type == "ImageProcessed":  # the first: what is made anew comes when the job has long ended
            arrived[fact.about] = min(fact.at, arrived.get(fact.about, fact.at))
    for row in evidence.table("catalog.jobs"):
        cancelled = min(heard.get(row["job_id"], float("inf")), heard.get(row["request_id"], float("inf")))
        if row["rank"] > STATUSES.index("failed") and cancelled + SURELY_BEFORE < arrived.get(row["job_id"], 0):
            yield Broken(subject=row["job_id"], what=f"was cancelled, and is {STATUSES[row['rank']]}")
