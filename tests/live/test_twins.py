"""Of two pictures that are alike the later one is told, once, whoever comes at once; a retry hears the same."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from deploy.local.servers import EmbeddedServers
from services.postprocess.domain import Processed, ended
from services.postprocess.reconcile import settle
from services.postprocess.twins import Twins, verdict_on
from shared.events import ImageGenerated, ImageProcessed, Measures, Verdict
from shared.library.documents import Rubric
from shared.partitions import History, Partitions
from shared.postgres import Pool, open_pool, transaction, workspace_transaction
from tests.live.stage import eventually, new_database, open_stage
from tests.live.test_postprocess import ORIGINAL, WEB, running
from tests.postprocess.images import WORKSPACE, generated

STRICT = Rubric(name="strict", version=1, owner="design", rejecting_checks=["twin"])


def measures(seed: int) -> Measures:
    digits = random.Random(seed).choices("0123456789abcdef", k=112)
    return Measures(colours=[], exposure=(0.5, 0.1, 0.9), entropy=5, fingerprint="".join(digits))


@pytest.fixture
async def pool(servers: EmbeddedServers) -> AsyncIterator[Pool]:
    pool = await open_pool(await new_database(servers), stage="postprocess")
    try:
        yield pool
    finally:
        await pool.close()


def image(**fields: Any) -> ImageGenerated:
    return generated(b"", **fields)


async def test_one_that_comes_while_another_is_not_yet_kept_waits_for_it(pool: Pool) -> None:
    first, second = image(), image()
    async with transaction(pool) as connection:
        assert (await Twins(connection).judge(first, measures(0))).ok
        asking = asyncio.create_task(Twins(pool).judge(second, measures(0)))

        async def waits() -> bool:
            found = await pool.fetchval("select count(*) from pg_locks where locktype = 'advisory' and not granted")
            return asking.done() or bool(found)

        await eventually(waits)
        assert not asking.done(), "it did not wait, and so cannot have seen the other"
    said = await asking
    assert not said.ok and str(first.asset_id) in said.sentence


async def test_of_many_that_race_one_of_each_two_is_told_and_a_retry_hears_the_same(pool: Pool) -> None:
    twins = Twins(pool)
    pairs = [(number, image(), image()) for number in range(40)]

    async def ask(number: int, event: ImageGenerated) -> Verdict:
        return await twins.judge(event, measures(number))

    asked = [(number, event) for number, *both in pairs for event in both]
    first = await asyncio.gather(*(ask(*each) for each in asked))
    for place, (number, one, other) in enumerate(pairs):
        said = first[2 * place], first[2 * place + 1]
        assert sorted(verdict.ok for verdict in said) == [False, True], f"pair {number}"
        later = next(verdict for verdict in said if not verdict.ok)
        earlier = one if said[0].ok else other
        assert str(earlier.asset_id) in later.sentence
    assert await asyncio.gather(*(ask(*each) for each in asked)) == first


async def test_the_same_job_the_parent_and_another_house_are_no_twins(pool: Pool) -> None:
    twins, parent = Twins(pool), image()
    assert (await twins.judge(parent, measures(1))).ok
    again = image().model_copy(update={"job_id": parent.job_id})
    child = image()
    child = child.model_copy(update={"brief": child.brief.model_copy(update={"parent_asset_id": parent.asset_id})})
    elsewhere = image().model_copy(update={"workspace": uuid4()})
    for event in (again, elsewhere):
        assert (await twins.judge(event, measures(1))).ok
    said = await twins.judge(child, measures(1))
    assert not said.ok and str(again.asset_id) in said.sentence, "its parent is excepted, its parent's copy is not"
    async with workspace_transaction(pool, stage="postprocess", workspace=elsewhere.workspace) as connection:
        assert [row["asset_id"] for row in await connection.fetch("select asset_id from likenesses")] == [
            elsewhere.asset_id
        ]


async def test_after_a_restore_what_was_judged_since_the_backup_is_known(servers: EmbeddedServers) -> None:
    def told(event: ImageGenerated, seed: int, **more: Any) -> Any:
        verdict = verdict_on("0" * 112, [], limit=1)
        made = Processed(original=event.original, checks=[verdict], measures=measures(seed))
        return ended(event, made, at=event.occurred_at + timedelta(seconds=1)).model_copy(update=more)

    before, since, unasked, anew = image(), image(), image(), image()
    async with open_stage(servers, stage="postprocess") as stage:
        twins = Twins(stage.pool)
        await twins.judge(before, measures(1))
        facts = [
            told(before, 1),
            told(since, 2),
            told(unasked, 3, checks=[]),
            told(anew, 4, supersedes=uuid4()),
        ]
        for _ in range(2):  # a start that was interrupted does it again
            async with stage.outbox.transaction() as running:
                await settle(running, facts)
        rows = await stage.pool.fetch("select asset_id from likenesses order by seq")
        assert [row["asset_id"] for row in rows] == [before.asset_id, since.asset_id]
        found = [await twins.judge(image(), measures(seed)) for seed in (1, 2, 3, 4)]
        assert [verdict.ok for verdict in found] == [False, False, True, True]
        assert str(since.asset_id) in found[1].sentence


async def test_what_is_older_than_it_is_kept_is_forgotten(pool: Pool) -> None:
    twins = Twins(pool)
    old = image().model_copy(update={"occurred_at": datetime.now(UTC) - timedelta(days=60)})
    for event in (old, image()):
        await twins.judge(event, measures(2))
    history = History(table="likenesses", kept=timedelta(days=35), ended="asked_at")
    await Partitions(pool, "postprocess", [history]).look()
    assert await pool.fetchval("select count(*) from likenesses") == 1
    assert (await twins.judge(old, measures(2))).ok is False, "who comes back after that long is the later one"


async def test_a_picture_that_comes_back_is_rejected_where_the_rubric_says_so(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running(servers, tmp_path) as stage:
        images = [generated(ORIGINAL, WEB, rubric=STRICT.pin()) for _ in range(2)]
        ends: dict[UUID, Any] = {}
        for event in images:
            await stage.hold(event, ORIGINAL, WEB, STRICT)
            await stage.send(event)
            ends |= await stage.outcomes(1)
        first, second = (ends[event.job_id] for event in images)
        assert isinstance(first, ImageProcessed) and first.measures is not None
        found = [next(check for check in end.checks if check.check == "twin") for end in (first, second)]
        assert [(check.ok, check.rejecting) for check in found] == [(True, False), (False, True)]
        assert str(images[0].asset_id) in found[1].sentence
        assert {event.workspace for event in images} == {WORKSPACE}
