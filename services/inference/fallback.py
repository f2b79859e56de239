"""Where a job goes when the backend it was sent to cannot make it: a pure function, like the first decision."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime

from services.inference.domain import Failed, Job, ask_of, unroutable, work_kind
from services.inference.routing import NO_TABLE, NOTHING, Decision, Unroutable, bucket_of, decide
from shared.library.documents import Routes


def fall_back(
    job: Job,
    *,
    table: Routes | None,
    today: date,
    runnable: Iterable[str],
    providers: Mapping[str, str] = NOTHING,
    avoid: Mapping[str, str],
) -> Decision | Unroutable:
    """Where a job goes instead: by the rule that routed it and by today's table, to nothing that is in `avoid`.

    `avoid` gives each backend that is away its reason. The law, the ceilings and whatever else refused a backend hold
    as they did for the first route. A table that would give the job to another rule by now gives it no fallback: that
    would be another policy, not another backend.
    """
    ask = ask_of(job.event)
    found = decide(
        ask,
        table=table,
        today=today,
        runnable=runnable,
        providers=providers,
        bucket=bucket_of(job.event.job_id),
        avoid=avoid,
    )
    before = job.route.rule if job.route else None
    if isinstance(found, Decision) and found.route.rule != before:
        return Unroutable(
            missing=f"rule {before!r} sent it to {job.backend}, and by {table.label if table else 'no table'} rule "
            f"{found.route.rule!r} would decide",
            remedy="run the job again: it is then routed anew",
            rule=before,
            refused={found.backend.name: f"rule {before!r} did not choose it"} | found.route.refused,
            table=found.route.table,
        )
    return found


def elsewhere(
    job: Job,
    *,
    kind: str,
    since: datetime,
    table: Routes | Unroutable | None,
    today: date,
    runnable: Iterable[str],
    providers: Mapping[str, str] = NOTHING,
    served: Collection[str],
    away: Mapping[str, str] = NOTHING,
    remedy: str,
) -> Decision | Failed:
    """Where a job goes whose kind of work nobody claims, or how it ends.

    To what is `served`: kinds of work that somebody claims, or did lately. Better not to a backend that is `away`,
    where it would wait again; but that wait has an end of its own.
    """
    unserved = {
        backend.name: f"no process claims {work_kind(backend)}"
        for backend in (table.backends if isinstance(table, Routes) else [])
        if work_kind(backend) == kind or work_kind(backend) not in served
    }
    found = next_best(
        job, [{**away, **unserved}, unserved], table=table, today=today, runnable=runnable, providers=providers
    )
    if isinstance(found, Decision):
        return found
    why = f"{nobody_claimed(kind, since)}; {found.missing}"
    return unroutable(replace(found, missing=why, remedy=f"{remedy}; or {found.remedy}"))


def next_best(
    job: Job,
    avoids: Iterable[Mapping[str, str]],
    *,
    table: Routes | Unroutable | None,
    today: date,
    runnable: Iterable[str],
    providers: Mapping[str, str] = NOTHING,
) -> Decision | Unroutable:
    """Where it goes instead, avoiding the first of these if it can, else the next."""
    missing: Unroutable = table if isinstance(table, Unroutable) else NO_TABLE
    if isinstance(table, Routes):
        for avoid in avoids:
            found = fall_back(job, table=table, today=today, runnable=runnable, providers=providers, avoid=avoid)
            if isinstance(found, Decision):
                return found
            missing = found
    return missing


def nobody_claimed(kind: str, since: datetime) -> str:
    return f"no process has claimed {kind} since {since:%Y-%m-%d %H:%M:%S} UTC"
