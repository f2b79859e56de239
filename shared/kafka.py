"""Kafka's connection, topics and the one producer: keyed sends, told apart by what became of each."""

import asyncio
import contextlib
import functools
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    TopicAlreadyExistsError,
    UnknownError,
    UnknownProducerId,
    kafka_errors,
)

from shared.errors import Unavailable
from shared.events import Event
from shared.events.envelope import Headers
from shared.settings import KafkaSettings
from shared.topics import DEAD_LETTER_RETENTION, TOPIC_OF, TOPICS

log = structlog.get_logger()

ACKNOWLEDGED_WITHIN = 30.0  # seconds; with idempotence on, a batch never expires by itself
CLOSE_WITHIN = 2.0  # seconds for a producer that is thrown away to flush what others still wait for
# Not marked retriable by aiokafka, and yet no word about a record: a producer that somebody has just thrown away or
# left out of step, a server's error, an authorisation that is being changed.
PASSING = (
    ProducerClosed,
    KafkaTimeoutError,
    UnknownError,
    OutOfOrderSequenceNumber,
    InvalidProducerEpoch,
    UnknownProducerId,
    ClusterAuthorizationFailedError,
)
MAX_REQUEST_BYTES = 2 * 1024 * 1024  # of which a broker takes 1 MiB by default, but on dead-letter topics


class InvalidRecord(BrokerResponseError):  # type: ignore[misc]
    """The broker's word on one record, for example without a key for a compacted topic.

    aiokafka 0.14 has no name for it, and takes what it has no name for to be a server's passing trouble.
    """

    errno = 87
    message = "INVALID_RECORD"
    description = "The broker refused the record as such."


kafka_errors.setdefault(InvalidRecord.errno, InvalidRecord)


def _or_broken(send: Callable[..., Any]) -> Callable[..., Any]:
    """uvloop's word for a transport that is closed is a RuntimeError; aiokafka knows an OSError only.

    Its task that fetches ended over it, and the connection, which passed for a whole one, was taken again for ever.
    """

    @functools.wraps(send)
    def sent(connection: AIOKafkaConnection, *arguments: Any, **more: Any) -> Any:
        try:
            return send(connection, *arguments, **more)
        except KafkaError:  # a RuntimeError too
            raise
        except RuntimeError as error:
            connection.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
            raise KafkaConnectionError(f"connection at {connection.host}:{connection.port} broken: {error}") from error

    return sent


AIOKafkaConnection.send = _or_broken(AIOKafkaConnection.send)
AIOKafkaConnection._send_sasl_token = _or_broken(AIOKafkaConnection._send_sasl_token)  # noqa: SLF001


@dataclass(slots=True)
class Record:
    """One event as it goes over the wire; `topic` already carries the deployment's prefix."""

    topic: str
    key: bytes | None
    headers: Headers
    body: bytes | None


def record_of(event: Event, *, prefix: str) -> Record:
    return Record(prefix + TOPIC_OF[type(event)].name, event.key, event.headers(), event.body())


def headers_text(record: Record) -> str:
    """A record's headers as a table keeps them."""
    return orjson.dumps([[name, value.decode()] for name, value in record.headers]).decode()


def stored_record(row: Mapping[str, Any]) -> Record:
    """A record from the columns `topic, key, headers, body`."""
    headers = [(name, value.encode()) for name, value in orjson.loads(row["headers"])]
    return Record(row["topic"], row["key"], headers, row["body"].encode())


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """What consumer, producer and admin client share."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap,
        "security_protocol": settings.kafka_security,
    }
    if settings.kafka_security in {"SSL", "SASL_SSL"}:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        if settings.kafka_cert_file:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file)
        options["ssl_context"] = context
    if settings.kafka_security.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value() if settings.kafka_password else None
    return options


async def create_topics(settings: KafkaSettings) -> list[str]:
    """Creates what is missing of the table and of its dead-letter topics; says which.

    Raises:
        Unavailable: the broker does not answer.
    """
    admin = AIOKafkaAdminClient(**connection_options(settings))
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        wanted = [topic for topic in _all_topics(settings) if topic.name not in existing]
        if wanted:
            with contextlib.suppress(TopicAlreadyExistsError):
                await admin.create_topics(wanted, timeout_ms=30_000)
    except (KafkaError, OSError) as error:
        raise Unavailable("kafka", error) from error
    finally:
        await admin.close()
    return [topic.name for topic in wanted]


def _all_topics(settings: KafkaSettings) -> list[NewTopic]:
    milliseconds = str(int(DEAD_LETTER_RETENTION.total_seconds() * 1000))
    made = []
    for topic in TOPICS:
        name = settings.topic_prefix + topic.name
        made.append(NewTopic(name, settings.topic_partitions, settings.topic_replication, topic_configs=topic.config))
        # Room for the largest record the broker takes plus the headers that say why it is here.
        dead = {
            "retention.ms": milliseconds,
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(MAX_REQUEST_BYTES),
        }
        made.append(NewTopic(f"{name}.dlq", 1, settings.topic_replication, topic_configs=dead))
    return made


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """A producer in use; `gone` once it was thrown away, when what it had not sent by then never will be."""

    producer: AIOKafkaProducer
    gone: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def is_gone(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    async def send(self, records: Sequence[Record]) -> list[Any]:
        """What became of each; of those that nobody will answer any more, that the producer is closed.

        A closed aiokafka client leaves whoever waits for a topic's metadata, or for an answer, waiting for ever.
        """
        buffered: list[asyncio.Future[Any]] = []

        async def all_sent() -> list[Any]:
            for r in records:
                sent = await self.producer.send(r.topic, value=r.body, key=r.key, headers=r.headers)
                buffered.append(sent)  # at once: what is buffered when the producer goes has an answer of its own
            return await asyncio.gather(*buffered, return_exceptions=True)

        sending = asyncio.create_task(all_sent())
        either: set[asyncio.Future[Any]] = {sending, self.gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return sending.result()
            closed = ProducerClosed()
            known = [_outcome(each) if each.done() else closed for each in buffered]
            return known + [closed] * (len(records) - len(known))
        finally:
            if not sending.done() or sending.cancelled() or sending.exception() is not None:
                sending.cancel()
                for each in (sending, *buffered):
                    each.add_done_callback(_is_read)


class Producer:
    """A producer that survives what a broker does to an idempotent one.

    One refused record leaves an idempotent aiokafka producer with `OutOfOrderSequenceNumber` on that partition for
    ever, so after any failure that is not passing it is thrown away and made anew.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._open: _Open | None = None
        self._lock = asyncio.Lock()
        self.renewals = 0

    async def start(self) -> None:
        await self._current()

    async def check(self) -> None:
        """Raises Unavailable unless the broker answers: what `/readyz` asks."""
        current = await self._current()
        if not await current.producer.client.force_metadata_update():
            raise Unavailable("kafka", "no broker answers")

    async def stop(self) -> None:
        current, self._open = self._open, None
        if current is not None:
            try:
                await _close(current.producer)
            finally:
                current.is_gone()

    async def send(self, records: Sequence[Record]) -> list[BaseException | None]:
        """Sends all, keyed, and says per record None (acknowledged by all replicas) or why not.

        Raises:
            Unavailable: the broker did not answer within 30 s; nothing is known of the records.
        """
        if not records:
            return []
        current = await self._current()
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
                outcomes = await current.send(records)
        except TimeoutError as error:
            await self.renew(current)
            raise Unavailable("kafka", f"no acknowledgement within {ACKNOWLEDGED_WITHIN:.0f} s") from error
        except KafkaError as error:
            # The client refused a record before sending: which one is found by sending each alone.
            await self.renew(current)
            return [error] * len(records)
        if any(isinstance(outcome, BaseException) for outcome in outcomes):
            await self.renew(current)
        return [outcome if isinstance(outcome, BaseException) else None for outcome in outcomes]

    async def deliver(self, records: Sequence[Record]) -> dict[int, BaseException]:
        """Sends until each is acknowledged, or refused alone by a producer of its own; returns the refused by place.

        Raises:
            Unavailable: the broker is away; send all again later (consumers deduplicate).
        """
        failed = [place for place, outcome in enumerate(await self.send(records)) if outcome is not None]
        refused: dict[int, BaseException] = {}
        if not failed:
            return refused
        # With a producer of its own: in a batch with somebody else's, a good record is refused for theirs.
        apart = Producer(self._settings)
        try:
            for place in failed:
                (again,) = await apart.send([records[place]])
                if again is None:
                    continue
                if _is_passing(again):
                    raise Unavailable("kafka", again) from again
                refused[place] = again
        finally:
            await apart.stop()
        return refused

    async def renew(self, failed: _Open | None = None) -> None:
        """Throws the producer away; the next send makes another. Harmless if somebody already did."""
        async with self._lock:
            current = self._open
            if current is None or (failed is not None and current is not failed):
                return
            self._open = None
            self.renewals += 1
        log.warning("producer.renewed", renewals=self.renewals)
        try:
            await _close(current.producer)
        finally:
            current.is_gone()

    async def _current(self) -> _Open:
        async with self._lock:
            if self._open is None:
                producer = AIOKafkaProducer(
                    **connection_options(self._settings),
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=2,
                    max_batch_size=256 * 1024,
                    max_request_size=MAX_REQUEST_BYTES,
                )
                try:
                    await producer.start()
                except BaseException as error:  # a check that ran out of time cancels it
                    await _close(producer)
                    if isinstance(error, (KafkaError, OSError)):
                        raise Unavailable("kafka", error) from error
                    raise
                self._open = _Open(producer)
            return self._open


def _is_read(sent: "asyncio.Future[Any]") -> None:
    """Nobody waits for it any more; an exception in it is no news."""
    if not sent.cancelled():
        sent.exception()


def _outcome(sent: "asyncio.Future[Any]") -> Any:
    return ProducerClosed() if sent.cancelled() else sent.exception() or sent.result()


def _is_passing(error: BaseException) -> bool:
    """Whether the broker or the connection refused, and not this record: another time it may be taken."""
    return isinstance(error, KafkaError) and (error.retriable or isinstance(error, PASSING))


async def _close(producer: AIOKafkaProducer) -> None:
    """Stops a producer that may be unable to flush; what it held is sent again by whoever owns it."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_WITHIN):
            await producer.stop()
            return
    # Left alone it would go on for ever: its sender, its connections, and old records sent once more when nobody
    # expects them. There is no public way to end it without flushing.
    for close in (producer._sender.close, producer.client.close):  # noqa: SLF001
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_WITHIN):
                await close()
