"""Where each topic ended and each consumer group stood on Kafka at one moment, to go back to it.

A group commits its offset after its database has committed. So whatever a group had committed when this was read is in
every later state of the database, and a database restored from a later state has missed nothing if its groups go on
from here; what they hear twice, ids and inboxes discard. Offsets found by time would not do: a group that was behind
had not yet heard what is older than the moment.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.errors import Problem
from deploy.local.tasks import together

SESSION_SECONDS = 60.0  # longer than the session time-out of any consumer of ours
NEWEST_SECONDS = 30.0  # in which the last record of every partition is read

Offsets = Mapping[str, Mapping[int, int]]  # topic → partition → offset of the next record


@dataclass(frozen=True, kw_only=True)
class Positions:
    """`ends` by topic; `groups`: what each had finished, by topic."""

    ends: Offsets
    groups: Mapping[str, Offsets]

    @property
    def behind(self) -> dict[str, dict[int, int]]:
        """From where on a record may say more than the database knew: the end, or where the slowest group stood."""
        found = {}
        for topic, ends in self.ends.items():
            readers = [group[topic] for group in self.groups.values() if topic in group]
            found[topic] = {
                number: min([end, *(reader.get(number, 0) for reader in readers)]) for number, end in ends.items()
            }
        return found

    def document(self) -> dict[str, Any]:
        """Return a JSON form."""
        return {"ends": self.ends, "groups": self.groups, "behind": self.behind}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Positions":
        """Read what `document` wrote."""
        groups = {name: _numbered(topics) for name, topics in document["groups"].items()}
        return cls(ends=_numbered(document["ends"]), groups=groups)


async def read_positions(bootstrap: str, *, prefix: str = "") -> Positions:
    """Of groups and topics whose name begins so. Groups first: later commits only make them look further behind."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        await consumer.start()
        groups: dict[str, dict[str, dict[int, int]]] = {}
        for name in [name for name, _ in await admin.list_consumer_groups() if name.startswith(prefix)]:
            topics = groups.setdefault(name, {})
            for place, committed in (await admin.list_consumer_group_offsets(name)).items():
                if committed.offset >= 0:
                    topics.setdefault(place.topic, {})[place.partition] = committed.offset
        named = [name for name in await admin.list_topics() if name[:2] != "__" and name.startswith(prefix)]
        described = await admin.describe_topics(named)
        places = [TopicPartition(t["topic"], p["partition"]) for t in described for p in t["partitions"]]
        ends: dict[str, dict[int, int]] = {}
        for place, end in (await offsets_of(consumer.end_offsets, places)).items():
            ends.setdefault(place.topic, {})[place.partition] = end
    except (KafkaError, OSError) as error:
        raise Problem(f"Kafka does not answer: {error!r}", remedy="Look at it with `calotype status`.") from error
    finally:
        await consumer.stop()
        await admin.close()
    return Positions(ends=ends, groups=groups)


async def offsets_of(
    ask: Callable[[list[TopicPartition]], Coroutine[Any, Any, dict[TopicPartition, int]]],
    places: Iterable[TopicPartition],
) -> dict[TopicPartition, int]:
    """`ask` a consumer about all topics at once: one after the other it takes 0.17 s for each that it does not know."""
    topics: dict[str, list[TopicPartition]] = {}
    for place in places:
        topics.setdefault(place.topic, []).append(place)
    found = await together([ask(some) for some in topics.values()])
    return {place: offset for offsets in found for place, offset in offsets.items()}


async def step_back(bootstrap: str, *, seconds: float = 60.0, prefix: str = "") -> None:
    """Every group whose name begins so hears again what the log's last `seconds` hold; none of them may have a member.

    For a broker that lost its newest records in a power cut: what is written in their place has their offsets, and a
    group that had finished those would pass it over.
    """
    positions = await read_positions(bootstrap, prefix=prefix)
    begins = await _begins(bootstrap, positions.ends, seconds)
    groups = {
        group: {
            topic: {number: min(offset, begins[topic][number]) for number, offset in at.items()}
            for topic, at in topics.items()
            if topic in begins
        }
        for group, topics in positions.groups.items()
    }
    await rewind(bootstrap, Positions(ends=positions.ends, groups=groups))


async def _begins(bootstrap: str, ends: Offsets, seconds: float) -> dict[str, dict[int, int]]:
    """Where each partition's part of the last `seconds` begins, by the newest record of all."""
    places = {TopicPartition(topic, number): end for topic, at in ends.items() for number, end in at.items()}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        begin = await offsets_of(consumer.beginning_offsets, places)
        filled = [place for place, end in places.items() if end > begin[place]]
        newest = 0
        if filled:
            consumer.assign(filled)
            for place in filled:
                consumer.seek(place, places[place] - 1)
            async with asyncio.timeout(NEWEST_SECONDS):
                newest = max([(await consumer.getone(place)).timestamp for place in filled])
        moments = await consumer.offsets_for_times(dict.fromkeys(places, max(0, newest - int(seconds * 1000))))
    finally:
        await consumer.stop()
    found: dict[str, dict[int, int]] = {}
    for place, end in places.items():
        at = moments.get(place)
        found.setdefault(place.topic, {})[place.partition] = end if at is None else at.offset
    return found


async def rewind(bootstrap: str, positions: Positions) -> None:
    """Puts every group where it stood; none of them may have a member that lives."""
    for group, topics in positions.groups.items():
        offsets = {
            TopicPartition(topic, number): offset for topic, at in topics.items() for number, offset in at.items()
        }
        if not offsets:
            continue
        await _commit(bootstrap, group, offsets)


async def _commit(bootstrap: str, group: str, offsets: Mapping[TopicPartition, int]) -> None:
    """Waits for the end of a member that died with its broker: that one is believed alive for a session more."""
    deadline = time.monotonic() + SESSION_SECONDS
    while True:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(list(offsets))
            await consumer.commit(dict(offsets))
        except KafkaError as error:
            if time.monotonic() > deadline:
                raise Problem(
                    f"The consumer group {group} cannot be put back: {error!r}",
                    remedy="End whoever reads in this group, and start again.",
                ) from error
        else:
            return
        finally:
            await consumer.stop()
        await asyncio.sleep(0.5)


def _numbered(topics: Mapping[str, Mapping[str, int]]) -> dict[str, dict[int, int]]:
    return {topic: {int(number): offset for number, offset in at.items()} for topic, at in topics.items()}
