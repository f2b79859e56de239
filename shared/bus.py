"""The Kafka edges: transform (events in, events out) and project (events in, rows and events out), in batches.

What holds for both, and only here:
- offsets are committed explicitly, for finished batches only, and a batch is finished when its effects are;
- a record that cannot be read or handled goes verbatim to its topic's dead letters and hurts nobody else;
- a dependency that is away is waited for without end, and nothing is dead-lettered for it;
- if at least 20 and more than half of a partition's last 200 records are bad, the consumer stops until told to resume;
- one consumer span per sampled event, parent = the event's own context, linked to the batch's span.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from opentelemetry.trace import Span, SpanContext, SpanKind

from shared import fetching
from shared.crash import crash_point
from shared.decoding import CUT_HEADER, REPLAY_HEADER, Bad, Decoder, SetAside, decode_event
from shared.errors import Rejected, Unavailable
from shared.events import Event
from shared.kafka import Producer, Record, record_of
from shared.observability import (
    CONSUMER_STOPPED,
    CURRENT_EVENT,
    EVENTS_DEAD,
    EVENTS_HANDLED,
    EVENTS_SECONDS,
    is_sampled,
    start_span,
    traceparent_of,
)
from shared.outbox import Outbox, Transaction
from shared.postgres import Connection, is_passing
from shared.retry import Backoff
from shared.topics import Topic

log = structlog.get_logger()

COMMIT_EVERY = 0.5  # seconds
CLOSE_WITHIN = 1.5  # seconds for each call to a broker that may be away, when the process ends
WINDOW = 200  # records of one partition that the bad share is taken over
BAD_ENOUGH = 20
KEPT_HEADERS = frozenset({"ce_id", "ce_source", "ce_type", "ce_workspace", "ce_requestid", "ce_jobid", "traceparent"})
KEPT_BYTES = 512 * 1024  # of a record that cannot be kept whole: compressed, a broker took what no dead letter can be
POLL_MILLISECONDS = 20  # FastStream sleeps as long again when nothing came
SESSION_SECONDS = 10.0  # a member that is silent for so long loses its partitions

Transform = Callable[[Any], Awaitable[Sequence[Event]]]
# Writes a batch's rows, set-based, and emits what became true by it.
Apply = Callable[[Transaction, Sequence[Any]], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Item:
    """One record on its way through a batch."""

    record: Any
    topic: Topic
    partition: TopicPartition
    event: Any = None
    row: Any = None
    bad: Bad | None = None
    span: Span | None = None


@dataclass(slots=True)
class Stop:
    """A consumer that stopped by itself, and why."""

    group: str
    topic: str
    partition: int
    bad: int
    of: int


@dataclass(eq=False)
class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """One consumer group's member on its topics."""

    bus: "Bus"
    topics: tuple[Topic, ...]
    group: str
    decode: Decoder
    handle: Callable[[list[Item]], Awaitable[None]]
    subscriber: Any = None
    finished: dict[TopicPartition, int] = field(default_factory=dict)
    windows: dict[TopicPartition, deque[bool]] = field(default_factory=dict)
    stop: Stop | None = None
    backoff: Backoff = field(default_factory=Backoff)
    waiting_for: str | None = None
    running: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def consumer(self) -> Any:
        return self.subscriber.consumer

    # -- rebalancing: what another member owns now is not ours to commit

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self.commit()
        for partition in revoked:
            self.finished.pop(partition, None)
            self.windows.pop(partition, None)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self.stop is not None:
            self.consumer.pause(*assigned)

    async def commit(self) -> None:
        """Commits the offsets of finished batches; a refusal only means that the records come again."""
        finished, self.finished = self.finished, {}
        consumer = self.consumer
        if not finished or consumer is None:
            return
        owned = consumer.assignment()
        offsets = {partition: offset for partition, offset in finished.items() if partition in owned}
        try:
            if offsets:
                crash_point("offsets.before")
                await consumer.commit(offsets)
                crash_point("offsets.after")
        except KafkaError as error:
            # Tried again with what finishes next: without it a quiet partition would look behind for ever.
            self.finished = offsets | self.finished
            log.warning("offsets.not_committed", group=self.group, cause=repr(error))

    # -- one batch

    async def on_batch(self, records: Sequence[Any]) -> None:
        async with self.running:
            if not self.bus.stopping.is_set():
                await self._on_batch(records)

    async def _on_batch(self, records: Sequence[Any]) -> None:
        started = time.perf_counter()
        if self.stop is not None:
            self._rewind(records)
            self.consumer.pause(*self.consumer.assignment())
            return
        batch = _BatchSpan(self.group, len(records))
        try:
            items = self._read(records, batch)
            await self.handle([item for item in items if item.bad is None and item.event is not None])
            await self._set_aside([item for item in items if item.bad is not None])
        except Unavailable as error:
            self._rewind(records)
            await self._wait(error)
            return
        except Exception:
            # Not one record's fault, or it would have been bisected: stay loud, keep the records, try again.
            log.exception("batch.failed", group=self.group, records=len(records))
            self._rewind(records)
            await self._pause()
            return
        finally:
            batch.end()
        self.backoff.reset()
        self.waiting_for = None
        self._finish(items)
        EVENTS_SECONDS.labels(self.group).observe(time.perf_counter() - started)

    def _read(self, records: Sequence[Any], batch: "_BatchSpan") -> list[Item]:
        """Decodes record by record; cuts a partition's batch short where its bad share stops the consumer."""
        items: list[Item] = []
        topics = self.bus.topics_by_name
        tripped: set[TopicPartition] = set()
        views: dict[TopicPartition, deque[bool]] = {}  # of partitions with something bad in this batch
        partitions: dict[tuple[str, int], TopicPartition] = {}
        for record in records:
            place = (record.topic, record.partition)
            partition = partitions.get(place) or partitions.setdefault(place, TopicPartition(*place))
            if tripped and partition in tripped:
                continue
            item = Item(record, topics[record.topic], partition)
            self._decode(item, batch)
            items.append(item)
            if item.bad is not None and partition not in views:
                views[partition] = deque(self._window(partition), maxlen=WINDOW)
                views[partition].extend(i.bad is not None for i in items if i.partition == partition)
            elif views and partition in views:
                views[partition].append(item.bad is not None)
            if item.bad is not None and _too_bad(views[partition]):
                tripped.add(partition)
        return items

    def _decode(self, item: Item, batch: "_BatchSpan") -> None:
        # A replayed header is added last, so only the last one needs a look.
        headers = item.record.headers
        if headers and headers[-1][0] == REPLAY_HEADER and headers[-1][1] != self.group.encode():
            return  # a replay is for the one group that refused it
        try:
            item.event = self.decode(item.record, item.topic)
        except SetAside as aside:
            item.bad = aside.bad
            return
        except Exception as error:  # noqa: BLE001  # a decoder's bug on one record is that record's dead letter
            item.bad = Bad("bad_body", repr(error)[:2000])
            return
        traceparent = getattr(item.event, "traceparent", None)
        if is_sampled(traceparent):
            request = getattr(item.event, "request_id", None)
            item.span = start_span(
                f"{item.topic.name} process",
                parent=traceparent,
                kind=SpanKind.CONSUMER,
                link=batch.context(),
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.type": "process",
                    "messaging.destination.name": item.topic.name,
                    "messaging.consumer.group.name": self.group,
                    "messaging.destination.partition.id": str(item.record.partition),
                    "messaging.kafka.offset": item.record.offset,
                    "calotype.event": type(item.event).__name__,
                    **({} if request is None else {"calotype.request": str(request)}),
                },
            )
            # From here on the event's context is this stage's span: what it causes hangs below.
            item.event.__dict__["traceparent"] = traceparent_of(item.span)

    async def _set_aside(self, bad: Sequence[Item]) -> None:
        """Dead letters: key, value and headers verbatim, plus who refused it, why, and where it came from."""
        if not bad:
            return
        records = []
        for item in bad:
            assert item.bad is not None
            record = item.record
            origin = f"{record.topic}/{record.partition}/{record.offset}"
            extra = {
                "calotype-group": self.group,
                "calotype-reason": item.bad.reason,
                "calotype-detail": item.bad.detail,
                "calotype-origin": origin,
            }
            headers = [h for h in record.headers if h[0] not in extra and h[0] != REPLAY_HEADER]
            headers += [(name, value.encode(errors="replace")) for name, value in extra.items()]
            # A producer takes no record with neither key nor value, though a topic may hold one.
            value = b"" if record.key is None and record.value is None else record.value
            records.append(Record(f"{record.topic}.dlq", record.key, headers, value))
            EVENTS_DEAD.labels(self.group, item.topic.name, item.bad.reason).inc()
            CURRENT_EVENT.set(item.event)
            log.error(
                "record.dead_lettered",
                group=self.group,
                origin=origin,
                reason=item.bad.reason,
                detail=item.bad.detail[:300],
            )
        CURRENT_EVENT.set(None)
        crash_point("dead_letter.before")
        refused = await self.bus.producer.deliver(records)
        if refused:
            refused = await self.bus.producer.deliver([_cut(records[place]) for place in refused])
        if refused:
            raise Unavailable("kafka", f"dead letters were refused: {next(iter(refused.values()))!r}")
        crash_point("dead_letter.after")

    def _window(self, partition: TopicPartition) -> deque[bool]:
        window = self.windows.get(partition)
        if window is None:
            window = self.windows[partition] = deque(maxlen=WINDOW)
        return window

    def _finish(self, items: Sequence[Item]) -> None:
        last: dict[TopicPartition, int] = {}
        good: Counter[TopicPartition] = Counter()
        for item in items:
            last[item.partition] = item.record.offset + 1
            if item.bad is None:
                good[item.partition] += 1
            if item.span is not None:
                item.span.end()
        self._judge(items)
        for partition, number in good.items():
            EVENTS_HANDLED.labels(self.group, self.bus.topics_by_name[partition.topic].name).inc(number)
        self.finished.update(last)
        if self.stop is not None:
            CONSUMER_STOPPED.labels(self.group).set(1)
            log.critical(
                "consumer.stopped", group=self.group, topic=self.stop.topic, bad=self.stop.bad, of=self.stop.of
            )
            for partition, offset in last.items():
                if partition in self.consumer.assignment():
                    self.consumer.seek(partition, offset)
            self.consumer.pause(*self.consumer.assignment())

    def _judge(self, items: Sequence[Item]) -> None:
        """Remembers, in their order, which records were bad; stops where a partition's share is past bearing."""
        spoilt = {item.partition: item for item in items if item.bad is not None}
        whole = Counter(item.partition for item in items)
        for partition, number in whole.items():
            window = self._window(partition)
            if partition not in spoilt:
                window.extend(repeat(False, number))  # noqa: FBT003  # a deque of yes and no
                continue
            for item in items:
                if item.partition == partition:
                    window.append(item.bad is not None)
                    if item.bad is not None and self.stop is None and _too_bad(window):
                        topic = self.bus.topics_by_name[partition.topic].name
                        self.stop = Stop(self.group, topic, partition.partition, sum(window), len(window))

    def halt(self, stop: Stop) -> None:
        """Stands still as another member of the group does, or as this one did before it was started again."""
        if self.stop is not None:
            return
        self.stop = stop
        CONSUMER_STOPPED.labels(self.group).set(1)
        log.critical("consumer.halted", group=self.group, topic=stop.topic, bad=stop.bad, of=stop.of)
        if self.consumer is not None:
            self.consumer.pause(*self.consumer.assignment())

    def resume(self) -> bool:
        """Takes up a stopped consumer where it stopped; False if it was not stopped."""
        if self.stop is None:
            return False
        log.warning("consumer.resumed", group=self.group)
        self.stop = None
        self.windows.clear()
        CONSUMER_STOPPED.labels(self.group).set(0)
        if self.consumer is not None:
            self.consumer.resume(*self.consumer.assignment())
        return True

    def _rewind(self, records: Sequence[Any]) -> None:
        """The batch comes again."""
        first: dict[TopicPartition, int] = {}
        for record in records:
            first.setdefault(TopicPartition(record.topic, record.partition), record.offset)
        for partition, offset in first.items():
            if partition in self.consumer.assignment():
                self.consumer.seek(partition, offset)

    def ask_for_offsets_again(self) -> None:
        """Starts aiokafka's task that asks for committed offsets again, where an answer it does not know has ended it.

        It ends for good and takes its error to whoever polls, time and again: until the next rebalance nothing would be
        read, while heartbeats go on and the group looks well. There is no public way to begin it anew.
        """
        if (consumer := self.consumer) is None:
            return
        coordinator, subscription = consumer._coordinator, consumer._subscription.subscription  # noqa: SLF001
        task = getattr(coordinator, "_commit_refresh_task", None)
        assignment = subscription and subscription.assignment
        if task is None or not task.done() or task.cancelled() or task.exception() is None:
            return
        if assignment is not None and assignment.active:
            log.warning("offsets.asked_for_again", group=self.group, cause=repr(task.exception()))
            coordinator.start_commit_offsets_refresh_task(assignment)

    def read_again(self) -> None:
        """Begins anew what reads, where it ended without a word.

        aiokafka's task that fetches takes a cancelled request for its own end, and tells nobody of any other end;
        FastStream's loop does not come back from a cancellation either. The group would look well and nothing be read.
        """
        if (consumer := self.consumer) is None:
            return
        fetcher, subscriber = consumer._fetcher, self.subscriber  # noqa: SLF001  # there is no public way
        if fetcher is not None and fetcher._fetch_task.done() and not fetcher._closed:  # noqa: SLF001
            log.warning("reading.begun_again", group=self.group, what="fetching")
            fetcher._fetch_task = asyncio.create_task(fetcher._fetch_requests_routine())  # noqa: SLF001
        loop = subscriber.tasks[-1] if subscriber.tasks else None
        # One that ended by an error FastStream begins anew itself.
        if loop is not None and loop.done() and (loop.cancelled() or loop.exception() is None):
            log.warning("reading.begun_again", group=self.group, what="polling")
            subscriber.add_task(subscriber._run_consume_loop, (consumer,))  # noqa: SLF001

    async def _wait(self, error: Unavailable) -> None:
        self.waiting_for = error.dependency
        log.warning("consumer.waits", group=self.group, dependency=error.dependency, cause=error.cause)
        await self._pause()

    async def _pause(self) -> None:
        """Backs off, but holds up nobody who wants to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.bus.stopping.wait(), self.backoff.next())


class _BatchSpan:
    """The poll-to-commit span of a batch, a trace of its own, begun only when some event in it is sampled."""

    def __init__(self, group: str, records: int) -> None:
        self._group = group
        self._records = records
        self._span: Span | None = None

    def context(self) -> SpanContext:
        if self._span is None:
            attributes = {
                "messaging.batch.message_count": self._records,
                "messaging.consumer.group.name": self._group,
            }
            self._span = start_span(f"{self._group} batch", parent=None, attributes=attributes)
        return self._span.get_span_context()

    def end(self) -> None:
        if self._span is not None:
            self._span.end()


class Bus:
    """The edges of one process. Wire handlers first, then `start`."""

    def __init__(
        self,
        producer: Producer,
        *,
        options: dict[str, Any],
        prefix: str = "",
        outbox: Outbox | None = None,
        max_records: int = 500,
        session_seconds: float = SESSION_SECONDS,
    ) -> None:
        self.producer = producer
        self.session_seconds = session_seconds
        self.outbox = outbox
        self.prefix = prefix
        self.max_records = max_records
        security = {k: v for k, v in options.items() if k != "bootstrap_servers"}
        self.broker = KafkaBroker(
            options["bootstrap_servers"].split(","),
            logger=None,
            security=_security(security),
            allow_auto_create_topics=False,
        )
        self.subscriptions: list[Subscription] = []
        self.topics_by_name: dict[str, Topic] = {}
        self.stopping = asyncio.Event()
        fetching.install()
        self._committer: asyncio.Task[None] | None = None

    def transform(self, *topics: Topic, group: str) -> Callable[[Transform], Transform]:
        """Events in, events out, no database: publishes everything, then the offsets may be committed.

        The handler raises `Rejected` only for what a dead letter is right for (a pinned document that is gone);
        a business refusal is an event.
        """

        def register(handler: Transform) -> Transform:
            async def handle(items: list[Item]) -> None:
                made: list[tuple[Item, Record]] = []
                for item in items:
                    CURRENT_EVENT.set(item.event)
                    try:
                        produced = await handler(item.event)
                        for event in produced:
                            if event.traceparent is None:
                                event.__dict__["traceparent"] = item.event.traceparent
                        records = [record_of(event, prefix=self.prefix) for event in produced]
                    except Unavailable:
                        raise
                    except Exception as error:  # noqa: BLE001  # this record's own dead letter
                        item.bad = _handler_failed(error)
                        continue
                    made.extend(zip(repeat(item), records, strict=False))
                CURRENT_EVENT.set(None)
                crash_point("publish.before")
                refused = await self.producer.deliver([record for _, record in made])
                crash_point("publish.after")
                for place, reason in refused.items():
                    made[place][0].bad = Bad("handler_failed", f"the broker refused what it made: {reason!r}")

            self._subscribe(topics, group, decode_event, handle)
            return handler

        return register

    def project(
        self, *topics: Topic, group: str, apply: Apply, decode: Decoder = decode_event
    ) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """A pure `decide` per event, then one set-based `apply` per batch in one transaction with the outbox.

        `decide` returns the row to write, or None for nothing. If `apply` fails for a reason that does not pass, the
        batch is bisected down to the record at fault.
        """

        def register(decide: Callable[[Any], Any]) -> Callable[[Any], Any]:
            async def handle(items: list[Item]) -> None:
                todo = []
                for item in items:
                    CURRENT_EVENT.set(item.event)
                    try:
                        item.row = decide(item.event)
                    except Exception as error:  # noqa: BLE001  # this record's own dead letter
                        item.bad = _handler_failed(error)
                        continue
                    if item.row is not None:
                        todo.append(item)
                CURRENT_EVENT.set(None)
                await self.write(apply, todo)

            self._subscribe(topics, group, decode, handle)
            return decide

        return register

    async def write(self, apply: Apply, items: list[Item]) -> None:
        """One transaction for all rows; those that cannot be written are found by halves and marked bad."""
        if not items:
            return
        assert self.outbox is not None, "a project edge needs an outbox"
        try:
            async with self.outbox.transaction() as transaction:
                await apply(transaction, [item.row for item in items])
        except Unavailable:
            raise
        except Exception as error:
            if is_passing(error):
                raise Unavailable("postgres", error) from error
            if len(items) == 1:
                items[0].bad = _handler_failed(error)
                return
            half = len(items) // 2
            await self.write(apply, items[:half])
            await self.write(apply, items[half:])

    def _subscribe(
        self, topics: tuple[Topic, ...], group: str, decode: Decoder, handle: Callable[[list[Item]], Awaitable[None]]
    ) -> None:
        subscription = Subscription(self, topics, group, decode, handle)
        self.topics_by_name |= {self.prefix + topic.name: topic for topic in topics}
        subscriber = self.broker.subscriber(
            *(self.prefix + topic.name for topic in topics),
            group_id=self.prefix + group,
            batch=True,
            max_records=self.max_records,
            batch_timeout_ms=POLL_MILLISECONDS,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            session_timeout_ms=round(self.session_seconds * 1000),
            heartbeat_interval_ms=round(self.session_seconds * 1000 / 3),
            partition_assignment_strategy=(RangePartitionAssignor,),
            listener=subscription,
            parser=_keep_raw,
            decoder=_keep_raw_body,
        )

        @subscriber
        async def on_batch(message: KafkaMessage) -> None:
            await subscription.on_batch(message.raw_message)

        subscription.subscriber = subscriber
        self.subscriptions.append(subscription)

    async def start(self) -> None:
        """Raises UnsafeSubscriber before anything is read if a subscriber could lose or double a record."""
        for subscriber in self.broker.subscribers:
            assert_safe(subscriber)
        try:
            await self.broker.start()
        except (KafkaError, OSError) as error:
            raise Unavailable("kafka", error) from error
        self._committer = asyncio.create_task(self._commit_forever(), name="offset-committer")

    async def stop(self, *, within: float = 5.0) -> None:
        """Stops reading, lets running batches end, commits what is finished; a broker that is away holds up nothing.

        `within`: seconds for the batches; one that does not end is not committed and comes again.
        """
        self.stopping.set()
        if self._committer is not None:
            self._committer.cancel()
            await asyncio.gather(self._committer, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                for subscription in self.subscriptions:
                    async with subscription.running:
                        pass
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                for subscription in self.subscriptions:
                    await subscription.commit()
        except Exception as error:  # noqa: BLE001  # what is not committed comes again
            log.warning("offsets.not_committed", cause=repr(error))
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.broker.stop()
        except TimeoutError:
            log.warning("broker.not_left")

    async def _commit_forever(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY)
            for subscription in self.subscriptions:
                with contextlib.suppress(Exception):
                    subscription.ask_for_offsets_again()
                    subscription.read_again()
                    await subscription.commit()

    def waiting_for(self) -> dict[str, str]:
        """Group → what it waits for or why it stopped, for `/readyz`."""
        found = {s.group: f"waits for {s.waiting_for}" for s in self.subscriptions if s.waiting_for}
        for s in self.subscriptions:
            if s.stop is not None:
                found[s.group] = (
                    f"stopped: {s.stop.bad} of the last {s.stop.of} records of {s.stop.topic} were bad; "
                    f"look with `calotype dlq list`, then `calotype dlq resume {s.group}`"
                )
        return found

    def stops(self) -> list[Stop]:
        """What stands still in this process."""
        return [subscription.stop for subscription in self.subscriptions if subscription.stop is not None]

    def halt(self, stop: Stop) -> None:
        for subscription in self.subscriptions:
            if subscription.group == stop.group:
                subscription.halt(stop)

    def resume(self, group: str) -> bool:
        return sum(s.resume() for s in self.subscriptions if s.group == group) > 0


class UnsafeSubscriber(RuntimeError):
    """A subscriber's settings could lose or double records, so the process does not start."""


def assert_safe(subscriber: Any) -> None:
    """Refuses a subscriber whose ack policy, offset reset, no_reply or concurrency differs from the bus's."""
    options = subscriber._connection_args  # noqa: SLF001  # FastStream has no public reading of these
    wrong = []
    if subscriber.ack_policy is not AckPolicy.MANUAL:
        wrong.append(f"ack_policy is {subscriber.ack_policy}, not MANUAL")
    if options.get("auto_offset_reset") != "earliest":
        wrong.append("auto_offset_reset is not earliest")
    if not subscriber._no_reply:  # noqa: SLF001
        wrong.append("no_reply is off: a header could name a topic to answer to")
    if getattr(subscriber, "max_workers", 1) not in {None, 1}:
        wrong.append("max_workers is not 1")
    if wrong:
        raise UnsafeSubscriber(f"{subscriber.topic_names}: {'; '.join(wrong)}")


def _too_bad(window: deque[bool]) -> bool:
    bad = sum(window)
    return bad >= BAD_ENOUGH and bad * 2 > len(window)


def _cut(record: Record) -> Record:
    """What can be kept of a record that is too large as it is; its origin says where all of it still lies."""
    kept = [h for h in record.headers if h[0].startswith("calotype-") or h[0] in KEPT_HEADERS]
    kept.append((CUT_HEADER, str(len(record.body or b"")).encode()))
    return Record(record.topic, None, [(n, v and v[:4096]) for n, v in kept], (record.body or b"")[:KEPT_BYTES])


def _handler_failed(error: BaseException) -> Bad:
    detail = str(error) if isinstance(error, Rejected) else repr(error)
    return Bad("handler_failed", detail[:2000])


async def _keep_raw(message: Any) -> KafkaMessage:
    """Our own decoding is record by record; the stock parser raises on one bad header and the batch is lost."""
    first = message[0]
    return KafkaMessage(
        body=b"",
        headers={},
        reply_to="",
        content_type=None,
        message_id=f"{first.topic}/{first.partition}/{first.offset}",
        correlation_id="",
        raw_message=message,
        consumer=None,  # type: ignore[arg-type]  # commits go through the subscription alone
    )


async def _keep_raw_body(message: Any) -> Any:
    return message.raw_message


def _security(options: dict[str, Any]) -> Any:
    from faststream import security  # noqa: PLC0415

    context = options.get("ssl_context")
    protocol = options.get("security_protocol", "PLAINTEXT")
    if not protocol.startswith("SASL"):
        return security.BaseSecurity(ssl_context=context, use_ssl=context is not None)
    kind = {
        "PLAIN": security.SASLPlaintext,
        "SCRAM-SHA-256": security.SASLScram256,
        "SCRAM-SHA-512": security.SASLScram512,
    }[options["sasl_mechanism"]]
    return kind(
        username=options["sasl_plain_username"],
        password=options["sasl_plain_password"],
        ssl_context=context,
        use_ssl=context is not None,
    )


__all__ = ["Bus", "Connection", "Subscription", "Transaction", "UnsafeSubscriber", "assert_safe"]
