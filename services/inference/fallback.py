"""Where a job goes when the backend it was sent to cannot make it: a pure function, like the first decision."""

from collections.abc import Iterable, Mapping
from datetime import date

from services.inference.domain import Job, ask_of
from services.inference.routing import NOTHING, Decision, Unroutable, bucket_of, decide
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
