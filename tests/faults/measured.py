"""What a run measured, read from Kafka's own clock: recovery after each kill, and after each restart of a server."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.topics import IMAGES_PROCESSED, JOBS_ENDED, REQUESTS_ACCEPTED, TOPICS, Topic
from tests.faults.figures import Span, drained, quantiles, recovered, recoveries
from tests.faults.injector import Injector
from tests.faults.topics import partitions_of, read, reader
from tests.faults.world import World

OURS = "/calotype/"  # how the source of each of our events begins
PROGRESS = b"calotype.JobProgressed"
BESIDE = ("cloud.", "target.", "records.", "process.killed")  # faults that nobody has to recover from to complete work


async def measured(world: World, injector: Injector) -> dict[str, Any]:
    return {"recovery": await _recoveries(world, injector), "drained_after_restart": await _drained(world, injector)}


async def _recoveries(world: World, injector: Injector) -> dict[str, Any]:
    """From each end by kill -9, asked for or at a crash point, to the stage's next new fact."""
    told: dict[str, list[float]] = defaultdict(list)
    known: set[bytes] = set()
    last = 0.0
    for record in sorted(await _records(world, TOPICS), key=lambda record: record.timestamp):
        headers = dict(record.headers)
        if headers["ce_type"] == PROGRESS or headers["ce_id"] in known:
            continue  # of work that is not done, or that was done before
        known.add(headers["ce_id"])
        last = record.timestamp / 1000
        told[_source(record).rpartition("/")[2]].append(last)
    troubles = [span for planned, span in injector.outages if not planned.kind.startswith(BESIDE)]
    return recovered(recoveries(world.kills(), told, troubles, until=last))


async def _drained(world: World, injector: Injector) -> dict[str, Any]:
    """Server → from its return until everything was made, or had ended, that was accepted by then.

    Says something of the restart only where the load leaves no backlog of its own.
    """
    accepted: dict[str, float] = {}
    for record in await _records(world, [REQUESTS_ACCEPTED]):
        fact = json.loads(record.value)
        accepted[fact["request_id"]] = datetime.fromisoformat(fact["occurred_at"]).timestamp()
    made: dict[str, tuple[float, float]] = {}
    for record in await _records(world, [IMAGES_PROCESSED, JOBS_ENDED]):
        fact, ended = json.loads(record.value), record.timestamp / 1000
        asked = accepted.get(fact["request_id"], ended)
        made[fact["job_id"]] = asked, min(ended, made.get(fact["job_id"], (asked, ended))[1])
    found = {}
    for server in ("kafka", "postgres"):
        spans: Sequence[Span] = [span for planned, span in injector.outages if planned.kind == f"{server}.restarted"]
        found[server] = quantiles(drained(spans, made.values()))
    return found


async def _records(world: World, topics: Sequence[Topic]) -> list[Any]:
    """Every record that we wrote; what else lies there is poison."""
    async with reader(world) as consumer:
        every = [record for topic in topics for record in await read(consumer, partitions_of(world, topic.name))]
    return [record for record in every if _source(record).startswith(OURS)]


def _source(record: Any) -> str:
    return str(dict(record.headers).get("ce_source", b""), errors="replace")
