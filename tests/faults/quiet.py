"""Whether anything still moves: what was read and not finished, committed and not sent, begun and not ended.

A consumer that stopped because too much of what it read was bad is told to go on, as an operator would: poison that is
sent five times over may do that to a quiet topic.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from deploy.local.positions import offsets_of
from tests.faults.oracle.files import lines
from tests.faults.oracle.world import World

STAGES = ("intake", "inference", "postprocess", "catalog", "publisher")
LOOK_EVERY = 0.5  # seconds
MOVES = " union all ".join(
    [f"select '{stage}: facts not sent', count(*) from {stage}.outbox where refused is null" for stage in STAGES]
    + [f"select '{stage}: work not ended', count(*) from {stage}.work where ready_at is not null" for stage in STAGES]
    + [
        "select 'catalog: waits for a person', count(*) from catalog.awaiting_review",
        "select 'catalog: in its undo window', count(*) from catalog.decisions where state = 'open'",
    ]
)


async def moving(world: World) -> dict[str, int]:
    """What is not at rest, by name; empty when everything is. Raises OSError or KafkaError while servers are away."""
    found = await _rows(world)
    return found or await _lag(world)


async def until_quiet(
    world: World,
    *,
    within: float,
    at_most: float | None = None,
    but: Callable[[str], bool] = lambda _: False,
    looks: int = 2,
) -> dict[str, int]:
    """Waits for so many looks in a row that see nothing move, `but` for what may; what still moved when it gave up.

    It does when nothing has become less for `within` seconds, and after `at_most`, usually ten times that.
    """
    began = fell = time.monotonic()
    last = at_most if at_most is not None else 10 * within
    before = 0
    seen = 0
    while True:
        try:
            left = {name: many for name, many in (await moving(world)).items() if not but(name)}
        except (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            left = {repr(error)[:200]: 1}
        seen = 0 if left else seen + 1
        now = time.monotonic()
        if sum(left.values()) < before:
            fell = now
        before = sum(left.values())
        if seen >= looks or now >= fell + within or now >= began + last:
            return left
        if left:
            with contextlib.suppress(httpx.HTTPError):
                await resume_stopped(world)
        await asyncio.sleep(LOOK_EVERY)


async def resume_stopped(world: World) -> list[str]:
    """Tells every consumer that stopped by itself to go on, in the name of the load; which groups that were."""
    token = next((line["token"] for line in lines(world.ledgers / "workspaces.jsonl")), None)
    if token is None:
        return []
    found = []
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        for stage in world.services:
            told = (await client.get(world.address(f"/v1/stages/{stage}/readyz"))).json().get("dependencies", {})
            for group in [name for name, state in told.items() if str(state).startswith("stopped")]:
                headers = {"Authorization": f"Bearer {token}"}
                path = world.address("/v1/dead-letters/resume")
                granted = (await client.post(path, json={"group": group}, headers=headers)).raise_for_status().json()
                grant = {"Authorization": f"Grant {granted['grant']}"}
                (await client.post(world.address(granted["resume_at"]), headers=grant)).raise_for_status()
                found.append(group)
    return found


async def _rows(world: World) -> dict[str, int]:
    connection = await asyncpg.connect(world.database_url, timeout=10)
    try:
        return {name: many for name, many in await connection.fetch(MOVES, timeout=30) if many}
    finally:
        await connection.close()


async def _lag(world: World) -> dict[str, int]:
    """Group → records that it has not finished."""
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    consumer = AIOKafkaConsumer(bootstrap_servers=world.kafka)
    try:
        await admin.start()
        await consumer.start()
        groups = [group for group, _ in await admin.list_consumer_groups() if group.startswith(world.prefix)]
        assigned = await asyncio.gather(*(_assigned(admin, group) for group in groups))
        finished = await asyncio.gather(*(admin.list_consumer_group_offsets(group) for group in groups))
        ends = await offsets_of(consumer.end_offsets, set[TopicPartition]().union(*assigned))
        found: dict[str, int] = {}
        for group, partitions, done in zip(groups, assigned, finished, strict=True):
            name = group.removeprefix(world.prefix)
            behind = sum(ends[each] - max(done[each].offset if each in done else 0, 0) for each in partitions)
            if not partitions:
                found[f"{name}: nobody reads for it"] = 1
            elif behind:
                found[f"{name}: behind"] = behind
        return found
    finally:
        await admin.close()
        await consumer.stop()


async def _assigned(admin: AIOKafkaAdminClient, group: str) -> set[TopicPartition]:
    # One by one: aiokafka 0.14 reads an answer about several groups wrongly.
    return {
        partition
        for answer in await admin.describe_consumer_groups([group])
        for _, _, _, _, _, members in answer.groups
        for *_, assignment in members
        if assignment
        for partition in ConsumerProtocolMemberAssignment.decode(assignment).partitions()
    }
