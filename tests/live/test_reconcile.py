"""What each stage writes into a restored database because of facts it told after that was copied."""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson

from deploy.local.servers import EmbeddedServers
from services.catalog import reconcile as catalog
from services.catalog.ledger.facts import hear, heard
from services.catalog.review.rules import decision_id
from services.inference import reconcile as inference
from services.postprocess import reconcile as postprocess
from shared import ids
from shared.contracts.golden import golden
from shared.current import keep
from shared.events import (
    AssetApproved,
    AttemptState,
    DerivativesFailed,
    DerivativesRequested,
    Event,
    FailureReason,
    ImageGenerated,
    ImageProcessed,
    JobFailed,
    LibraryItemChanged,
    PromptAssembled,
    ReviewRecorded,
    Stage,
)
from shared.topics import TOPIC_OF
from tests.live.stage import TestStage, open_stage

IMAGE: Any = golden(ImageGenerated)
PROMPT: Any = golden(PromptAssembled)
ASSET: Any = golden(ImageProcessed)
AT = datetime(2026, 1, 2, tzinfo=UTC)


async def test_a_job_whose_image_was_told_is_over_before_its_prompt_is_heard(servers: EmbeddedServers) -> None:
    async with open_stage(servers, stage="inference") as stage:
        for _ in range(2):  # a start that was interrupted does it again
            async with stage.outbox.transaction() as running:
                await inference.settle(running, [IMAGE])
                await inference.remember(running, [PROMPT])
        (row,) = await stage.pool.fetch("select work_id, ready_at, outcome, payload from work")
        assert (row["work_id"], row["ready_at"], row["outcome"]) == (ids.asset_id(PROMPT.job_id, 1), None, "made")
        assert orjson.loads(row["payload"])["event"]["prompt"] == PROMPT.prompt, "so that it can be started again"
        (attempt,) = await stage.pool.fetch("select attempt_id, state from attempts")
        assert tuple(attempt) == (IMAGE.attempts[0].attempt_id, "succeeded")


async def test_files_that_were_made_anew_are_not_made_again(servers: EmbeddedServers) -> None:
    asked: Any = golden(DerivativesRequested)
    made = ASSET.model_copy(update={"cause_id": asked.event_id, "supersedes": asked.supersedes})
    refused: Any = golden(DerivativesFailed).model_copy(update={"asked": None})
    dropped = refused.model_copy(update={"asked": ids.derive("test", "dropped")})
    async with open_stage(servers, stage="postprocess") as stage:
        async with stage.outbox.transaction() as running:
            await postprocess.settle(running, [ASSET, made, refused, dropped])
        rows = await stage.pool.fetch("select work_id, kind, ready_at, outcome from work")
        assert {tuple(row) for row in rows} == {
            (ASSET.asset_id, "process", None, "processed"),
            (asked.event_id, "process.anew", None, "processed"),
            (refused.cause_id, "process.anew", None, "failed"),
            (dropped.asked, "process.anew", None, "failed"),
        }


async def test_what_was_settled_does_not_become_uncertain_again(servers: EmbeddedServers) -> None:
    uncertain = IMAGE.attempts[0].model_copy(update={"state": AttemptState.UNCERTAIN, "cost": None})
    failed: Any = golden(JobFailed).model_copy(
        update={"stage": Stage.INFERENCE, "reason": FailureReason.MODEL_TIMEOUT, "attempts": [uncertain]}
    )
    async with open_stage(servers, stage="inference") as stage:
        async with stage.outbox.transaction() as running:
            await inference.settle(running, [failed])
        await stage.pool.execute("update attempts set state = 'succeeded', settled_by = 'somebody'")
        async with stage.outbox.transaction() as running:
            await inference.settle(running, [failed])
        assert await stage.pool.fetchval("select state from attempts") == "succeeded"


async def test_backends_that_bill_wait_for_a_person_and_no_other_does(servers: EmbeddedServers) -> None:
    table = {
        "kind": "routes", "name": "default", "version": 1, "owner": "tests", "rules": [],
        "backends": [
            {"name": "proof", "kind": "proof", "visibility": "private", "price": "0"},
            {"name": "paid", "kind": "openai", "visibility": "cloud", "price": "0.04"},
            {"name": "unpriced", "kind": "openai", "visibility": "cloud"},
            {"name": "own", "kind": "openai", "visibility": "private", "price": "0"},
        ],
    }  # fmt: skip
    told: Any = golden(LibraryItemChanged).model_copy(update={"kind": "routes", "name": "default", "document": table})
    async with open_stage(servers, stage="inference") as stage:
        async with stage.outbox.transaction() as running:
            await keep(running, [told])
        for _ in range(2):
            async with stage.outbox.transaction() as running:
                await inference.pause_what_bills(running, [])
        rows = await stage.pool.fetch("select name, workspace, mode from brakes order by name")
        held = [tuple(row) for row in rows]
        assert held == [("paid", told.workspace, "pause"), ("unpriced", told.workspace, "pause")]


def review(word: str, number: int, *, minute: int) -> Any:
    made = decision_id(ASSET.asset_version_id, number)
    return golden(ReviewRecorded).model_copy(
        update={
            "event_id": ids.derive("test", word, number),
            "cause_id": ids.derive("undo", made) if word == "undo" else made,
            "decision": word,
            "asset_id": ASSET.asset_id,
            "asset_version_id": ASSET.asset_version_id,
            "occurred_at": AT.replace(minute=minute),
        }
    )


async def tell(stage: TestStage, events: Sequence[Event]) -> None:
    """Every chapter of the catalog over these events, as a restored start reads them."""
    for chapter in catalog.chapters(SimpleNamespace(database=stage.pool)):  # type: ignore[arg-type]
        found: list[Any] = [event for event in events if TOPIC_OF[type(event)] in chapter.topics]
        if found:
            async with stage.outbox.transaction() as running:
                await chapter.apply(running, [heard(event) for event in found] if chapter.decode is hear else found)


async def decisions(stage: TestStage) -> dict[UUID, str]:
    return {row[0]: row[1] for row in await stage.pool.fetch("select decision_id, state from decisions")}


async def test_a_decision_that_was_told_stands_and_becomes_a_fact_by_itself(servers: EmbeddedServers) -> None:
    made = decision_id(ASSET.asset_version_id, 0)
    async with open_stage(servers, stage="catalog") as stage:
        for _ in range(2):
            await tell(stage, [ASSET, review("approve", 0, minute=0)])
        assert await decisions(stage) == {made: "open"}
        assert await stage.pool.fetchval("select count(*) from awaiting_review") == 0, "nobody is asked again"
        assert await stage.pool.fetchval("select ready_at is not null from work where work_id = $1", made)


async def test_a_decision_that_became_a_fact_is_one_and_nobody_concludes_it_again(servers: EmbeddedServers) -> None:
    made = decision_id(ASSET.asset_version_id, 0)
    approved: Any = golden(AssetApproved).model_copy(update={"cause_id": made})
    async with open_stage(servers, stage="catalog") as stage:
        await tell(stage, [ASSET, review("approve", 0, minute=0)])  # the database knew so much
        await tell(stage, [approved, ASSET, review("approve", 0, minute=0)])
        assert await decisions(stage) == {made: "final"}
        assert await stage.pool.fetchval("select ready_at is null from work where work_id = $1", made)
        assert await stage.pool.fetchval("select count(*) from outbox where body like '%AssetApproved%'") == 0


async def test_a_decision_that_was_taken_back_waits_for_the_next_review(servers: EmbeddedServers) -> None:
    async with open_stage(servers, stage="catalog") as stage:
        # In the order of no clock: topics promise none.
        await tell(stage, [review("undo", 0, minute=1), ASSET, review("reject", 0, minute=0)])
        assert await decisions(stage) == {decision_id(ASSET.asset_version_id, 0): "undone"}
        assert await stage.pool.fetchval("select review_version from awaiting_review") == 1
