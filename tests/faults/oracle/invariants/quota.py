"""I6: what a workspace has used up is what was accepted; each of its jobs is either settled or still reserved."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle.evidence import Evidence, Run, Violation
from tests.faults.oracle.invariants.assets import attempts_of

Broken = partial(Violation, invariant="I6")
Day = tuple[str, str]


def check(evidence: Evidence) -> Iterator[Violation]:
    yield from _days(evidence)
    yield from _ends(evidence)


def _days(evidence: Evidence) -> Iterator[Violation]:
    jobs: Counter[Day] = Counter()
    ended: Counter[Day] = Counter()
    released: Counter[Day] = Counter()
    for row in evidence.requests.values():
        jobs[row["workspace"], row["day"]] += row["jobs"]
    for (request_id, _), runs in _runs(evidence).items():
        request = evidence.requests.get(request_id)
        if request is not None and runs[max(runs)] is not None:
            day = request["workspace"], request["day"]
            ended[day] += 1
            released[day] += all(gave for gave in runs.values() if gave is not None)
    kept = {(row["workspace"], row["day"]): row for row in evidence.table("intake.quotas")}
    for day in jobs.keys() | kept.keys():
        used = kept.get(day)
        found = (used["jobs"], used["ended"], used["released"]) if used else (0, 0, 0)
        counted = jobs[day], ended[day], released[day]
        if found != counted:
            told = {"counted": counted, "kept": found}
            yield Broken(subject=" ".join(day), what="jobs, ended and released are not what was counted", evidence=told)


def _runs(evidence: Evidence) -> dict[tuple[str, str], dict[int, bool | None]]:
    """Request and job → what each run gave back; None for one that has begun and not ended."""
    found: dict[tuple[str, str], dict[int, bool | None]] = defaultdict(dict)
    for row in evidence.table("intake.job_ends"):
        found[row["request_id"], row["job_id"]][row["run"]] = row["released"]
    return found


def _ends(evidence: Evidence) -> Iterator[Violation]:
    """Intake has heard every end, and gave back what cost no attempt."""
    told: dict[Run, bool] = defaultdict(lambda: True)
    for event in evidence.all_of("ImageGenerated", "JobFailed", "JobCancelled"):
        if event.job is not None:
            told[event.job, event.run] &= not attempts_of(event)
    ours = {row["workspace"] for row in evidence.requests.values()}
    heard = {
        (row["job_id"], row["run"]): row["released"]
        for row in evidence.table("intake.job_ends")
        if row["workspace"] in ours
    }
    for run, released in told.items():
        if run not in heard:
            yield Broken(subject=run[0], what=f"run {run[1]} has ended, and its quota is not settled", kind="lost")
        elif heard[run] != released:
            done = "given back" if heard[run] else "kept"
            yield Broken(subject=run[0], what=f"the quota of run {run[1]} was {done}, and it should not")
    begun = {(event.job, event.run) for event in evidence.all_of("JobRetried")}
    for job, run in heard.keys() - told.keys() - begun:
        yield Broken(subject=job, what=f"the quota of run {run} was settled, and nothing says that it ended")
