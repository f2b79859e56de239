"""After a restore: what Kafka knows more than the database is written into it before any service starts.

A backup's database is older than its copy of Kafka. The facts in between that a stage hears, it hears again, for its
groups are put back; those it told itself it does not hear, and would make again: another call to a backend, another
time in the same fact. So each stage says in chapters which facts settle which of its rows. Every chapter may be
repeated, and read in any order within itself.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import orjson
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.bus import Apply, Item
from shared.decoding import Decoder, SetAside, decode_event
from shared.kafka import connection_options
from shared.observability import configure_logs
from shared.outbox import Transaction
from shared.service import Service, open_service
from shared.settings import Settings
from shared.topics import Topic

log = structlog.get_logger()
queries: Any = aiosql.from_path(Path(__file__).parent / "sql/reconcile.sql", "asyncpg")

AT_ONCE = 500
QUIET_MILLISECONDS = 500

Behind = Mapping[str, Mapping[str, int]]
"""Topic, with the deployment's prefix → partition → offset from which on the database may know less."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """Facts of some topics, and what is written because of them; of no topic: what is written once, without facts."""

    topics: Sequence[Topic]
    apply: Apply
    decode: Decoder = decode_event


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The end of a piece of work, as its fact tells it."""

    work_id: UUID
    kind: str
    workspace: UUID
    request_id: UUID
    job_id: UUID
    run: int
    outcome: str


Chapters = Callable[[Service], Sequence[Chapter]]


async def settle_told(transaction: Transaction, told: Sequence[Told]) -> None:
    """Ends the work of these; what nobody has heard of yet is over when it comes."""
    if told:
        await queries.settle_told(
            transaction.connection,
            ids=[each.work_id for each in told],
            kinds=[each.kind for each in told],
            workspaces=[each.workspace for each in told],
            requests=[each.request_id for each in told],
            jobs=[each.job_id for each in told],
            runs=[each.run for each in told],
            outcomes=[each.outcome for each in told],
        )


async def end_work(transaction: Transaction, outcomes: Mapping[UUID, str]) -> None:
    """Ends the work of these, if there is any."""
    if outcomes:
        await queries.end_work(transaction.connection, ids=list(outcomes), outcomes=list(outcomes.values()))


async def reconcile(stage: str, settings: Settings, chapters: Chapters, behind: Behind) -> None:
    """Reads every chapter from `behind` to the end of now. Facts it makes leave when the service starts.

    Raises:
        Unavailable: Postgres or Kafka is away; do it again.
    """
    service = await open_service(stage, settings, roles=frozenset())
    try:
        for chapter in chapters(service):
            if not chapter.topics:
                async with service.facts.transaction() as transaction:
                    await chapter.apply(transaction, [])
                continue
            known = 0
            async for records in _records(service, chapter, behind):
                items = list(_read(service, chapter, records))
                await service.bus.write(chapter.apply, items)
                known += len(items)
                for item in items:
                    if item.bad is not None:  # its consumer will say the same of it, and set it aside
                        log.error("reconcile.refused", offset=item.record.offset, detail=item.bad.detail)
            log.info("reconcile.chapter", topics=[topic.name for topic in chapter.topics], facts=known)
    finally:
        await service.stop()


def main(stage: str, settings_class: type[Settings], chapters: Chapters) -> None:
    """`python -m services.<stage>.reconcile FILE`: FILE says from where on, as a backup's manifest does."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{stage}.reconcile")
    parser.add_argument("file", type=Path, help="a backup's manifest.json, or what a restore made of it")
    document: dict[str, Any] = orjson.loads(parser.parse_args().file.read_bytes())
    settings = settings_class()
    configure_logs(service=stage, level=settings.log_level)
    asyncio.run(reconcile(stage, settings, chapters, document["positions"]["behind"]))


def _read(service: Service, chapter: Chapter, records: Sequence[Any]) -> list[Item]:
    topics = {service.bus.prefix + topic.name: topic for topic in chapter.topics}
    items = []
    for record in records:
        try:
            event = chapter.decode(record, topics[record.topic])
        except SetAside:
            continue
        place = TopicPartition(record.topic, record.partition)
        items.append(Item(record, topics[record.topic], place, event=event, row=event))
    return items


async def _records(service: Service, chapter: Chapter, behind: Behind) -> AsyncIterator[Sequence[Any]]:
    # Without a group: nobody's position moves.
    consumer = AIOKafkaConsumer(
        **connection_options(service.settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        names = [service.bus.prefix + topic.name for topic in chapter.topics]
        begins = {
            TopicPartition(name, int(number)): offset
            for name in names
            for number, offset in behind.get(name, {}).items()
        }
        if not begins:
            return
        consumer.assign(list(begins))
        ends = await consumer.end_offsets(list(begins))
        for partition, offset in begins.items():
            consumer.seek(partition, min(offset, ends[partition]))
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            found = await consumer.getmany(timeout_ms=QUIET_MILLISECONDS, max_records=AT_ONCE)
            if records := [record for records in found.values() for record in records]:
                yield records
    finally:
        await consumer.stop()
