"""The two Kafka edges against a raw pipelined aiokafka loop on the same broker, writing the same records.

All arms read the same preloaded topic with a new group, validate with pydantic, and write one keyed event per record
(the project edge also one row, in one transaction with its outbox). What the raw loop leaves out: dead letters,
bisection, back-off, spans, explicit offsets of finished batches, the bad-share stop.
Aims: transform_vs_raw ≥ 0.9, project_vs_raw ≥ 0.5.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Sequence
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.frame import Result, arguments, interleave, report, run, say
from deploy.local.servers import EmbeddedServers
from shared.bus import Bus
from shared.contracts.golden import AT, golden
from shared.decoding import decode_event
from shared.events import JobCancelled, PromptAssembled, Stage
from shared.ids import derive
from shared.kafka import Producer, Record, connection_options, create_topics, record_of
from shared.outbox import Outbox, Transaction
from shared.postgres import migrate_all, open_pool
from shared.settings import KafkaSettings
from shared.topics import JOBS_ENDED, PROMPTS_ASSEMBLED

UNSAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
GROUPS = (f"bench-{number}" for number in itertools.count())


def answer(event: PromptAssembled) -> JobCancelled:
    return JobCancelled.of(
        cause_id=event.event_id,
        occurred_at=AT,
        workspace=event.workspace,
        request_id=event.request_id,
        job_id=event.job_id,
        stage=Stage.PROMPT,
        by="bench",
        traceparent=event.traceparent,
    )


class Bench:
    def __init__(self, settings: KafkaSettings, database_url: str, events: int) -> None:
        self.settings = settings
        self.database_url = database_url
        self.events = events
        self.options = connection_options(settings)

    @property
    def source(self) -> str:
        return self.settings.topic_prefix + PROMPTS_ASSEMBLED.name

    async def fill(self) -> None:
        example = golden(PromptAssembled).model_dump() | {"traceparent": UNSAMPLED}
        producer = Producer(self.settings)
        for start in range(0, self.events, 1000):
            made = [
                PromptAssembled(**(example | {"job_id": derive(n)}))
                for n in range(start, min(start + 1000, self.events))
            ]
            await producer.deliver([record_of(event, prefix=self.settings.topic_prefix) for event in made])
        await producer.stop()

    async def raw(self) -> dict[str, float]:
        """What one writes without us: batches, keyed idempotent sends, the next fetch while acks come in."""
        consumer = AIOKafkaConsumer(
            self.source, **self.options, group_id=next(GROUPS), enable_auto_commit=False, auto_offset_reset="earliest"
        )
        producer = AIOKafkaProducer(
            **self.options, acks="all", enable_idempotence=True, linger_ms=2, max_batch_size=256 * 1024
        )
        await consumer.start()
        await producer.start()
        out, done, started, cpu = self.settings.topic_prefix + JOBS_ENDED.name, 0, 0.0, 0.0
        previous: Any = None
        while done < self.events:
            batches = await consumer.getmany(timeout_ms=200, max_records=500)
            records = [record for batch in batches.values() for record in batch]
            if not records:
                continue
            if not started:
                started, cpu = time.perf_counter(), time.process_time()
            sent = []
            for record in records:
                event = answer(cast("PromptAssembled", decode_event(record, PROMPTS_ASSEMBLED)))
                sent.append(await producer.send(out, value=event.body(), key=event.key, headers=event.headers()))
            if previous is not None:
                await asyncio.gather(*previous)
                await consumer.commit()
            previous = sent
            done += len(records)
        await asyncio.gather(*previous)
        await consumer.commit()
        figures = self._figures(started, cpu)
        await consumer.stop()
        await producer.stop()
        return figures

    async def transform(self) -> dict[str, float]:
        producer = _CountingProducer(self.settings)
        bus = Bus(producer, options=self.options, prefix=self.settings.topic_prefix)

        @bus.transform(PROMPTS_ASSEMBLED, group=next(GROUPS))
        async def on_prompt_assembled(event: PromptAssembled) -> list[JobCancelled]:
            producer.start_clock()
            return [answer(event)]

        figures = await self._timed(bus, producer)
        await producer.stop()
        return figures

    async def project(self) -> dict[str, float]:
        pool = await open_pool(self.database_url, stage="postprocess")
        await pool.execute("delete from tombstones")
        producer = _CountingProducer(self.settings)
        outbox = Outbox(pool, producer, prefix=self.settings.topic_prefix)
        await outbox.start()
        bus = Bus(producer, options=self.options, prefix=self.settings.topic_prefix, outbox=outbox)

        async def apply(running: Transaction, rows: Sequence[PromptAssembled]) -> None:
            await running.connection.execute(
                "insert into tombstones (request_id, job_id, workspace, cancelled_by) "
                "select r, j, w, 'bench' from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as t(r, j, w) "
                "on conflict do nothing",
                [row.request_id for row in rows],
                [row.job_id for row in rows],
                [row.workspace for row in rows],
            )
            running.emit(*(answer(row) for row in rows))

        @bus.project(PROMPTS_ASSEMBLED, group=next(GROUPS), apply=apply)
        def on_prompt_assembled(event: PromptAssembled) -> PromptAssembled:
            producer.start_clock()
            return event

        figures = await self._timed(bus, producer)
        await outbox.stop()
        await producer.stop()
        await pool.close()
        return figures

    async def _timed(self, bus: Bus, producer: "_CountingProducer") -> dict[str, float]:
        producer.expects(self.events)
        await bus.start()
        await producer.finished.wait()
        await bus.subscriptions[0].commit()
        figures = self._figures(producer.started, producer.cpu)
        await bus.stop()
        return figures

    def _figures(self, started: float, cpu: float) -> dict[str, float]:
        return {
            "events_per_second": self.events / (time.perf_counter() - started),
            "cpu_us_per_event": (time.process_time() - cpu) * 1e6 / self.events,
        }


class _CountingProducer(Producer):
    """Says when the last expected record was acknowledged; the clock starts at the first record handled."""

    started = 0.0
    cpu = 0.0

    def expects(self, records: int) -> None:
        self._left = records
        self.finished = asyncio.Event()

    def start_clock(self) -> None:
        if not self.started:
            self.started, self.cpu = time.perf_counter(), time.process_time()

    async def deliver(self, records: Sequence[Record]) -> dict[int, BaseException]:
        refused = await super().deliver(records)
        self._left -= len(records) - len(refused)
        if self._left <= 0:
            self.finished.set()
        return refused


async def main(running: EmbeddedServers) -> None:
    given = arguments(__doc__, more=[("--events", {"type": int, "default": 20_000})])
    result = Result("bus", "one process, one broker")
    settings = KafkaSettings(
        kafka_bootstrap=running.kafka_bootstrap,
        topic_prefix=f"b{secrets.token_hex(3)}.",
        topic_partitions=4,
        topic_replication=1,
    )
    await migrate_all(running.admin_database_url)
    await create_topics(settings)
    bench = Bench(settings, running.admin_database_url, given.events)
    await bench.fill()
    say(f"{given.events:,} events are waiting; three arms, {given.rounds} rounds")
    arms = {"raw": bench.raw, "transform": bench.transform, "project": bench.project}
    await interleave(result, arms, rounds=given.rounds)
    ratios = {f"{arm}_vs_raw": result.ratio(arm, "raw", "events_per_second") for arm in ("transform", "project")}
    report(result, ratios, save=given.save, events=given.events)


if __name__ == "__main__":
    run(main)
