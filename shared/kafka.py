"""Kafka's connection, topics and the one producer: keyed sends, told apart by what became of each."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidProducerEpoch,
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    TopicAlreadyExistsError,
    UnknownError,
    UnknownProducerId,
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


class Producer:
    """A producer that survives what a broker does to an idempotent one.

    One refused record leaves an idempotent aiokafka producer with `OutOfOrderSequenceNumber` on that partition for
    ever, so after any failure that is not passing it is thrown away and made anew.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self.renewals = 0

    async def start(self) -> None:
        await self._current()

    async def check(self) -> None:
        """Raises Unavailable unless the broker answers: what `/readyz` asks."""
        producer = await self._current()
        if not await producer.client.force_metadata_update():
            raise Unavailable("kafka", "no broker answers")

    async def stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)

    async def send(self, records: Sequence[Record]) -> list[BaseException | None]:
        """Sends all, keyed, and says per record None (acknowledged by all replicas) or why not.

        Raises:
            Unavailable: the broker did not answer within 30 s; nothing is known of the records.
        """
        if not records:
            return []
        producer = await self._current()
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
                sent = [
                    await producer.send(r.topic, value=r.body, key=r.key, headers=r.headers)  # returns once buffered
                    for r in records
                ]
                outcomes: list[Any] = await asyncio.gather(*sent, return_exceptions=True)
        except TimeoutError as error:
            await self.renew(producer)
            raise Unavailable("kafka", f"no acknowledgement within {ACKNOWLEDGED_WITHIN:.0f} s") from error
        except KafkaError:
            # The client refused a record before sending: which one is found by sending each alone.
            await self.renew(producer)
            return [await self._send_alone(record) for record in records]
        if any(isinstance(outcome, BaseException) for outcome in outcomes):
            await self.renew(producer)
        return [outcome if isinstance(outcome, BaseException) else None for outcome in outcomes]

    async def _send_alone(self, record: Record) -> BaseException | None:
        producer = await self._current()
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
                await producer.send_and_wait(record.topic, value=record.body, key=record.key, headers=record.headers)
        except TimeoutError as error:
            await self.renew(producer)
            raise Unavailable("kafka", f"no acknowledgement within {ACKNOWLEDGED_WITHIN:.0f} s") from error
        except KafkaError as error:
            await self.renew(producer)
            failure: BaseException = error
            return failure
        return None

    async def deliver(self, records: Sequence[Record]) -> dict[int, BaseException]:
        """Sends until each is acknowledged or refused alone by a fresh producer; returns the refused by place.

        Raises:
            Unavailable: the broker is away; send all again later (consumers deduplicate).
        """
        outcomes = await self.send(records)
        refused: dict[int, BaseException] = {}
        for place, outcome in enumerate(outcomes):
            if outcome is None:
                continue
            again = await self._send_alone(records[place])
            if again is None:
                continue
            if _is_passing(again):
                raise Unavailable("kafka", again) from again
            refused[place] = again
        return refused

    async def renew(self, failed: AIOKafkaProducer | None = None) -> None:
        """Throws the producer away; the next send makes another. Harmless if somebody already did."""
        async with self._lock:
            producer = self._producer
            if producer is None or (failed is not None and producer is not failed):
                return
            self._producer = None
            self.renewals += 1
        log.warning("producer.renewed", renewals=self.renewals)
        await _close(producer)

    async def _current(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
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
                self._producer = producer
            return self._producer


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
