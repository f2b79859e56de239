"""Records that nobody can use, onto every topic: each is to be set aside, and to hurt nobody else.

Few enough of them: where twenty of a partition's last two hundred are bad, and more than half, its consumer stops.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.events.envelope import event_type
from shared.topics import (
    ASSETS_RECALLED,
    ASSETS_REJECTED,
    IMAGE_REQUESTS,
    IMAGES_GENERATED,
    IMAGES_PROCESSED,
    JOBS_ENDED,
    PROMPTS_ASSEMBLED,
    REQUESTS_COMPLETED,
    REVIEWS_RECORDED,
    TOPICS,
    Topic,
)
from tests.faults.load.ledgers import Ledgers
from tests.faults.load.sending import Kafka
from tests.faults.oracle.world import World

GOLDEN = Path(__file__).resolve().parents[3] / "shared/contracts/golden"
UNREAD = frozenset({REQUESTS_COMPLETED, REVIEWS_RECORDED, ASSETS_REJECTED, ASSETS_RECALLED})
# Every service that reads them keeps the number of a job's run in 32 bits.
COUNTS_RUNS = frozenset({PROMPTS_ASSEMBLED, IMAGES_GENERATED, IMAGES_PROCESSED, JOBS_ENDED})
MOST = 8  # of a partition: a replay of each, and a second reading of all, still stop nobody
SOURCE = "/poison"
HUGE = 10 * 1024 * 1024
Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, kw_only=True)
class Poison:
    """`dies`: whether somebody must set it aside; else nobody reads it, or it is answered."""

    kind: str
    topic: Topic
    headers: Headers
    body: bytes
    dies: bool


def poisons(topic: Topic, rng: random.Random, *, workspace: str, canary: str) -> list[Poison]:
    """One of every kind that the topic can hold; what is said of those with the canary must not repeat it."""
    return [
        Poison(kind=kind, topic=topic, headers=headers, body=body, dies=dies and topic not in UNREAD)
        for kind, headers, body, dies in _kinds(topic, rng, workspace=workspace, canary=canary)
    ]


def _kinds(
    topic: Topic, rng: random.Random, *, workspace: str, canary: str
) -> Iterator[tuple[str, Headers, bytes, bool]]:
    is_foreign = topic is IMAGE_REQUESTS
    known = "calotype.ImageRequested" if is_foreign else event_type(topic.events[0])
    told: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_source", SOURCE.encode()),
        ("ce_id", _uuid(rng).encode()),
        ("content-type", b"application/json"),
    ]
    named = [*told, ("ce_type", known.encode())]
    whole = _golden(topic, rng)
    yield "json", named, b'{"not": "whole', True
    yield "header", [*told, ("ce_type", b"\xff\xfe")], b"{}", True
    if is_foreign:
        mine = [("ce_workspace", workspace.encode())]
        yield "type", [*told, *mine, ("ce_type", b"calotype.Nonsense")], b"{}", False
        yield "schema", [*named, *mine], b'{"nothing": "of ours"}', False
        yield "nul", [*named, *mine], b'{"campaign": "a\\u0000b"}', False
        yield "overflow", [*named, *mine], b'{"seed": 1' + b"0" * 400 + b"}", False
        yield "nobody", [("ce_specversion", b"1.0"), ("ce_type", known.encode())], b"{}", True
        return
    yield "type", [*told, ("ce_type", b"calotype.Nonsense")], b"{}", True
    yield "version", [*told, ("ce_type", f"{known}.v9".encode())], json.dumps(whole).encode(), True
    yield "schema", named, b'{"nothing": "of ours"}', True
    yield "nul", named, json.dumps(whole | {"client_reference": "a\x00b"}).encode(), True
    if topic is PROMPTS_ASSEMBLED:
        yield "prompt", named, json.dumps(whole | {"prompt": canary, "seed": canary}).encode(), True
    if topic in COUNTS_RUNS:
        yield "overflow", named, json.dumps(whole | {"run": 2**40}).encode(), True


def _golden(topic: Topic, rng: random.Random) -> dict[str, Any]:
    """A readable event, of a workspace, a request and a job that nobody has."""
    if not topic.events:
        return {}
    body: dict[str, Any] = json.loads((GOLDEN / f"{topic.events[0].__name__}.json").read_text())["body"]
    for name in ("event_id", "workspace", "request_id", "job_id", "asset_id", "asset_version_id", "publication_id"):
        if name in body:
            body[name] = _uuid(rng)
    return body


def _uuid(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


class Poisoner:
    """Spreads a bounded number over all topics and partitions, in an order of its own."""

    def __init__(self, world: World, kafka: Kafka, ledgers: Ledgers, *, seed: int, workspace: str, many: int) -> None:
        self._world = world
        self._kafka = kafka
        self._ledgers = ledgers
        self._rng = random.Random(f"poison {seed}")
        self._workspace = workspace
        self._many = many

    def plan(self) -> list[tuple[Poison, int]]:
        """What goes to which partition."""
        told = {"workspace": self._workspace, "canary": self._world.prompts_canary}
        every = [poison for topic in TOPICS for poison in poisons(topic, self._rng, **told)]
        spread: Counter[tuple[str, int]] = Counter()
        found: list[tuple[Poison, int]] = []
        while len(found) < self._many:
            before = len(found)
            self._rng.shuffle(every)
            for poison in every:
                partition = self._rng.randrange(self._world.partitions)
                if len(found) < self._many and spread[poison.topic.name, partition] < MOST:
                    spread[poison.topic.name, partition] += 1
                    found.append((poison, partition))
            if len(found) == before:
                break
        return found

    async def send(self, poison: Poison, partition: int) -> None:
        stands = await self._kafka.deliver(
            self._world.prefix + poison.topic.name, b"poison", poison.headers, poison.body, partition=partition
        )
        self._ledgers.write(
            "poison",
            kind=poison.kind,
            topic=poison.topic.name,
            partition=stands.partition,
            offset=stands.offset,
            dies=poison.dies,
        )

    async def send_huge(self, topics: Sequence[Topic] = TOPICS) -> None:
        """Ten megabytes: the broker's to refuse."""
        topic = self._rng.choice(topics)
        producer = AIOKafkaProducer(bootstrap_servers=self._world.kafka, max_request_size=2 * HUGE)
        try:
            await producer.start()
            await producer.send_and_wait(self._world.prefix + topic.name, value=b"\x00" * HUGE, key=b"poison")
        except (KafkaError, OSError) as error:
            self._ledgers.write("poison", kind="huge", topic=topic.name, refused=repr(error)[:200], dies=False)
        else:
            self._ledgers.write("complaints", what="the broker took ten megabytes", wanted="refused", got=topic.name)
        finally:
            await producer.stop()
