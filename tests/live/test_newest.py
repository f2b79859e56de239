"""A compacted topic ends with the newest state of each key, whatever order its records are sent in."""

import uuid
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from deploy.local.servers import EmbeddedServers
from shared.current import keep
from shared.errors import Unavailable
from shared.events import ApiKey, LibraryItemChanged, WorkspaceChanged
from shared.newest import Current
from shared.outbox import Transaction
from shared.postgres import transaction, workspace_transaction
from shared.topics import LIBRARY_ITEMS, WORKSPACES, Topic
from tests.live.stage import TestStage, eventually, open_stage

WORKSPACE = uuid.UUID(int=7)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def workspace(revision: int, *, active: bool) -> WorkspaceChanged:
    key = ApiKey(key_id="k1", sha256="0" * 64, principal="shop", roles=["requester"], active=active)
    return WorkspaceChanged.of(
        cause_id=f"{WORKSPACE} {revision}",
        occurred_at=NOW,
        workspace=WORKSPACE,
        name="Salt",
        keys=[key],
        revision=revision,
    )


def item(version: int, revision: int, *, state: str = "published") -> LibraryItemChanged:
    return LibraryItemChanged.of(
        cause_id=f"{version} {state} {revision}",
        occurred_at=NOW,
        workspace=WORKSPACE,
        item=f"{WORKSPACE}/routes/default",
        kind="routes",
        name="default",
        version=version,
        digest=f"{version}",
        state=state,
        document={"version": version},
        revision=revision,
    )


async def said(stage: TestStage, topic: Topic) -> list[Any]:
    return [topic.events[0].model_validate_json(record.value) for record in await stage.records(topic.name)]


async def commit_and_die(stage: TestStage, event: WorkspaceChanged | LibraryItemChanged) -> None:
    """Committed and never handed over, as by a process that is killed there: the sweeper sends it, seconds later."""
    async with transaction(stage.pool) as connection:
        await stage.outbox.add(connection, [event])


async def commit(stage: TestStage, event: WorkspaceChanged | LibraryItemChanged) -> None:
    async with stage.outbox.transaction() as running:
        running.emit(event)


async def nothing_is_left(stage: TestStage) -> None:
    async def sent() -> bool:
        return bool(await stage.pool.fetchval("select count(*) = 0 from outbox"))

    await eventually(sent)


async def test_a_revocation_stays_the_last_word_though_an_older_state_is_swept_after_it(
    servers: EmbeddedServers,
) -> None:
    async with open_stage(servers) as stage:
        await commit_and_die(stage, workspace(1, active=True))
        await commit(stage, workspace(2, active=False))
        await nothing_is_left(stage)
        revisions = [state.revision for state in await said(stage, WORKSPACES)]
        assert revisions[:2] == [2, 1], "the order that this is about did not come about"
        assert revisions[-1] == 2


async def test_the_highest_version_of_a_document_stays_the_last_word(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        await commit(stage, item(2, 1))
        await nothing_is_left(stage)
        await commit(stage, item(1, 2))  # an older version, published later
        await nothing_is_left(stage)
        assert [state.version for state in await said(stage, LIBRARY_ITEMS)] == [2, 1, 2]


async def test_an_older_state_is_not_taken_off_the_outbox_before_the_newer_one_has_followed_it(
    servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may die between the two sends: then whoever comes next sends both."""
    async with open_stage(servers) as stage:
        await commit(stage, workspace(2, active=False))
        await nothing_is_left(stage)
        deliver, calls = stage.producer.deliver, 0

        async def fails_once(records: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise Unavailable("kafka", "gone between the older and the newer")
            return await deliver(records)

        monkeypatch.setattr(stage.producer, "deliver", fails_once)
        await commit_and_die(stage, workspace(1, active=True))
        await nothing_is_left(stage)
        assert [state.revision for state in await said(stage, WORKSPACES)] == [2, 1, 1, 2]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
async def test_a_table_keeps_the_highest_revision_in_whatever_order_it_hears(
    servers: EmbeddedServers,
    together: bool,  # noqa: FBT001 a parameter
) -> None:
    heard: list[Current] = [
        workspace(2, active=False),
        item(2, 5),
        item(1, 4, state="retired"),
        item(1, 3),
        workspace(1, active=True),
    ]
    async with open_stage(servers) as stage:
        for batch in [heard] if together else [[event] for event in heard]:
            async with transaction(stage.pool) as connection:
                await keep(Transaction(connection), batch)
        assert await stage.pool.fetchval("select active from api_keys") is False
        rows = await stage.pool.fetch("select version, state from library_items order by version")
        assert [tuple(row) for row in rows] == [(1, "retired"), (2, "published")]


async def test_a_caller_sees_the_newest_states_of_no_other_workspace(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        await commit(stage, workspace(1, active=True))
        async with workspace_transaction(stage.pool, stage="postprocess", workspace=uuid.UUID(int=8)) as connection:
            assert await connection.fetchval("select count(*) from newest") == 0
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await stage.outbox.add(connection, [workspace(2, active=False)])
