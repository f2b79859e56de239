"""A campaign's facts in any order, repeated and cut into batches anyhow, leave one catalog; CALOTYPE_ORDERS of them."""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest

from deploy.local.servers import EmbeddedServers
from shared.events import (
    AttemptSettled,
    AttemptState,
    Event,
    FailureReason,
    JobFailed,
    JobStatus,
    Measures,
    Stage,
    WaitingOn,
)
from tests.catalog.facts import BEGIN, Job, Request
from tests.live.clones import Books, Copy, Original, Rows, open_books
from tests.live.stage import new_database

ORDERS = int(os.environ.get("CALOTYPE_ORDERS", "2500"))
SEED = int(os.environ.get("CALOTYPE_SEED", "4"))
TOGETHER = 500  # copies whose facts share transactions
ALONE = 100  # copies whose facts share none: in large batches some other fact may hide what one alone would show
ROUNDS = 8  # the most batches that one copy's facts are cut into
REPEATED = 0.2  # of the facts, heard once more; of those of copies alone half

OVER = Request(name="every end there is", variants=6)
OPEN = Request(name="some still wait", variants=3)
ANEW = Request(name="made anew", variants=3)


MEASURES = Measures(colours=[("#f2ece0", 1.0)], exposure=(0.5, 0.1, 0.9), entropy=5.0, fingerprint="0" * 112)


def over() -> list[Event]:
    """Every job ends: each way there is, one of them after a fresh start, one with a cost that is known late."""
    approved, failed, cancelled, retried, dropped, blank = OVER.jobs
    again = retried.again()
    return [
        OVER.accepted(),
        approved.generated(),
        approved.processed(measures=MEASURES),
        approved.progressed(),
        approved.approved(),
        approved.publication_failed(),
        approved.published(),
        failed.failed(),
        refused_later(failed),
        settled(failed),
        OVER.cancel(cancelled),
        cancelled.cancelled(),
        retried.failed(),
        again.retried(),
        again.processed(),
        again.rejected(),
        OVER.cancel(dropped),
        dropped.processed(),
        blank.blank(),
        refused_later(blank),
    ]


def still_open() -> list[Event]:
    """One waits for a person, one was started again with a result at hand and waits, one is being made again."""
    waits, replaced, running = OPEN.jobs
    again, anew = replaced.again(), running.again()
    return [
        OPEN.accepted(),
        waits.assembled(),
        waits.processed(),
        replaced.processed(),
        again.retried(),
        again.processed(),
        running.processed(),
        anew.retried(),
        anew.progressed(status=JobStatus.PENDING, waiting_on=WaitingOn.RATE),
    ]


def made_anew() -> list[Event]:
    """All are approved, and made anew by another recipe: one new version is approved too, one rejected, one waits."""
    served, kept, waits = ANEW.jobs
    return [
        ANEW.accepted(),
        *(
            fact
            for job in ANEW.jobs
            for fact in (job.processed(), job.approved(), job.asked_anew(), job.processed_anew())
        ),
        served.published(),
        served.approved_anew(),
        served.published_anew(),
        served.superseded(),
        kept.published(),
        kept.rejected_anew(),
        waits.failed_anew(),
        ANEW.cancel(waits),
    ]


def refused_later(job: Job) -> Event:
    """The same run's end in other words, of another stage: a dead letter that somebody dropped."""
    fields = job.failed(after=6).model_dump(exclude={"event_id"})
    fields |= {"cause_id": "dropped", "stage": Stage.POSTPROCESS, "reason": FailureReason.INTERNAL, "detail": "dropped"}
    return JobFailed.of(**fields)


def settled(job: Job) -> AttemptSettled:
    return AttemptSettled.of(
        cause_id="the invoice",
        occurred_at=BEGIN,
        workspace=OVER.workspace,
        request_id=OVER.request_id,
        job_id=job.job_id,
        attempt=job.attempt(cost="0.055").model_copy(update={"state": AttemptState.UNCERTAIN}),
    )


@pytest.mark.timeout(600)
async def test_a_campaign_in_any_order_leaves_one_catalog(servers: EmbeddedServers) -> None:
    original = Original.of([OVER, OPEN], [*over(), *still_open()])
    starts = [*range(1, ALONE + 1), *range(ALONE + 1, ORDERS + 1, TOGETHER), ORDERS + 1]
    groups = [range(first, last) for first, last in pairwise(starts)]
    async with asyncio.TaskGroup() as both:  # while Postgres writes for one, Python reads for the other
        for part in (groups[::2], groups[1::2]):
            both.create_task(hear_all(original, part, url=await new_database(servers)))


@pytest.mark.timeout(300)
async def test_versions_made_anew_in_any_order_leave_one_catalog(servers: EmbeddedServers) -> None:
    original = Original.of([ANEW], made_anew())
    async with open_books(await new_database(servers)) as books:
        plain = original.copy(0)
        plain.told = [[n] for n in range(len(plain.facts))]
        expected = await heard_anew(books, [plain])
        as_people_decided(expected[0])
        many = ORDERS // 5
        for numbers in (range(1, 21), range(21, many)):
            copies = [shuffled(original.copy(n)) for n in numbers]
            found = await heard_anew(books, copies)
            for copy in copies:
                assert found[copy.number] == expected[0], explained(copy, expected[0], found[copy.number])


async def heard_anew(books: Books, copies: Sequence[Copy]) -> dict[int, Rows]:
    """The rows; and a request is complete once, whatever becomes of versions that were made later."""
    for turn in range(max(len(copy.told) for copy in copies)):
        await books.hear([copy.facts[n] for copy in copies if turn < len(copy.told) for n in copy.told[turn]])
    found = await books.rows_of(copies)
    told = [body["jobs"] for kind, body in await books.told() if kind == "RequestCompleted"]
    assert told.count({"approved": 3}) == len(copies)
    await books.forget()
    return found


def as_people_decided(rows: Rows) -> None:
    served, kept, waits = ANEW.jobs
    assert {tuple(row.split(",")[4:6]) for row in rows["jobs"]} == {("6", "5")}, "approved, whatever came later"
    (waiting,) = rows["awaiting_review"]
    assert str(waits.new_version_id)[:28] in waiting
    assert len(rows["assets"]) == 6
    states = {row.split(",")[3]: row.split(",")[6] for row in rows["publications"]}
    assert states == {
        str(served.asset_version_id)[:28]: "superseded",
        str(served.new_version_id)[:28]: "delivered",
        str(kept.asset_version_id)[:28]: "delivered",
    }
    assert not rows.get("failures"), "what was to be better and failed is not the job's failure"


async def hear_all(original: Original, groups: Sequence[range], *, url: str) -> None:
    async with open_books(url) as books:
        plain = original.copy(0)
        plain.told = [[n] for n in range(len(plain.facts))]
        expected = (await outcomes(books, [plain]))[0]
        as_the_campaign_says(expected)
        for numbers in groups:
            copies = [shuffled(original.copy(n)) for n in numbers]
            found = await outcomes(books, copies)
            for copy in copies:
                assert found.get(copy.number) == expected, explained(copy, expected, found.get(copy.number, {}))


def shuffled(copy: Copy) -> Copy:
    chance = random.Random(f"{SEED}/{copy.number}")
    told = [*range(len(copy.facts))]
    told += [n for n in told if chance.random() < (0.5 if copy.number <= ALONE else REPEATED)]
    chance.shuffle(told)
    cuts = sorted(chance.randint(0, len(told)) for _ in range(chance.randint(0, ROUNDS - 1)))
    copy.told = [told[a:b] for a, b in zip([0, *cuts], [*cuts, len(told)], strict=True)]
    return copy


async def outcomes(books: Books, copies: Sequence[Copy]) -> dict[int, Rows]:
    """Each copy's rows after all its facts, some of many copies in every transaction; then forgets them."""
    for turn in range(max(len(copy.told) for copy in copies)):
        await books.hear([copy.facts[n] for copy in copies if turn < len(copy.told) for n in copy.told[turn]])
    found = await books.rows_of(copies)
    await told_what_follows(books, copies)
    await books.forget()
    return found


async def told_what_follows(books: Books, copies: Sequence[Copy]) -> None:
    """What the catalog says on the way may differ with the order; that it says what in the end is true may not."""
    ends: dict[str, list[dict[str, int]]] = defaultdict(list)
    cancelled: dict[str, int] = defaultdict(int)
    rejected: dict[str, int] = defaultdict(int)
    asked: set[str] = set()
    for kind, body in await books.told():
        if kind == "RequestCompleted":
            ends[body["request_id"]].append(body["jobs"])
        elif kind == "JobCancelled":
            cancelled[body["job_id"]] += 1
        elif kind == "AssetRejected":
            rejected[body["job_id"]] += 1
        else:
            asked.add(body["asset_version_id"])
    last = {"approved": 1, "failed": 1, "cancelled": 2, "rejected": 2}
    dropped, blank = (str(job.job_id) for job in OVER.jobs[4:])
    for copy in copies:
        request = next(fact.body["request_id"] for fact in copy.facts if fact.kind == "RequestAccepted")
        assert ends.pop(request, []).count(last) == 1, f"copy {copy.number}: {copy.order()}"
        (job,) = (job for job, name in copy.names.items() if name == dropped)
        assert cancelled.pop(job, 0) == 1, f"copy {copy.number}: {copy.order()}"
        (job,) = (job for job, name in copy.names.items() if name == blank)
        assert rejected.pop(job, 0) == 1, f"copy {copy.number}: {copy.order()}"
    assert not ends, "a request with jobs that wait is not completed"
    assert not cancelled, "nobody else was cancelled here"
    assert not rejected, "no check rejected anything else"
    unasked = await books.pool.fetchval(
        "select count(*) from awaiting_review where asset_version_id <> all($1::text[]::uuid[])", list(asked)
    )
    assert unasked == 0, "nobody was told that these wait"


def as_the_campaign_says(rows: Rows) -> None:
    """The order in which things happened gives what every order must."""
    standing = {row.split(",")[0][1:]: row.split(",")[2:5] for row in rows["jobs"]}
    ranks = {"approved": "6", "rejected": "5", "failed": "4", "cancelled": "3", "completed": "2", "pending": "0"}
    ends = ["approved", "failed", "cancelled", "rejected", "cancelled", "rejected", "completed", "completed", "pending"]
    runs = [1, 1, 1, 2, 1, 1, 1, 2, 2]
    jobs = [*OVER.jobs, *OPEN.jobs]
    found = {str(job.job_id): standing[str(job.job_id)] for job in jobs}
    wanted = {
        str(job.job_id): [str(run), str(job.variant), ranks[end]]
        for job, run, end in zip(jobs, runs, ends, strict=True)
    }
    assert found == wanted
    assert len(rows["awaiting_review"]) == 2, "of the runs that were started again the latest alone waits"
    assert sum(row.endswith(",t)") for row in rows["requests"]) == 1


def explained(copy: Copy, expected: Rows, found: Rows) -> str:
    lines = [f"copy {copy.number} (CALOTYPE_SEED={SEED}) heard {copy.order()}"]
    for table, rows in expected.items():
        other = found.get(table, frozenset())
        lines += [f"{table}: without {row}" for row in sorted(rows - other)]
        lines += [f"{table}: with    {row}" for row in sorted(other - rows)]
    return "\n".join(lines)
