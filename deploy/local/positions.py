"""Where each topic ended and each consumer group stood on Kafka at one moment, to go back to it.

A group commits its offset after its database has committed. So whatever a group had committed when this was read is in
every later state of the database, and a database restored from a later state has missed nothing if its groups go on
from here; what they hear twice, ids and inboxes discard. Offsets found by time would not do: a group that was behind
had not yet heard what is older than the moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.errors import Problem

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


async def read_positions(bootstrap: str) -> Positions:
    """Groups first: what is committed after that only makes them look further behind."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        await consumer.start()
        groups: dict[str, dict[str, dict[int, int]]] = {}
        for name, _ in await admin.list_consumer_groups():
            topics = groups.setdefault(name, {})
            for place, committed in (await admin.list_consumer_group_offsets(name)).items():
                if committed.offset >= 0:
                    topics.setdefault(place.topic, {})[place.partition] = committed.offset
        described = await admin.describe_topics([name for name in await admin.list_topics() if name[:2] != "__"])
        places = [TopicPartition(t["topic"], p["partition"]) for t in described for p in t["partitions"]]
        ends: dict[str, dict[int, int]] = {}
        for place, end in (await consumer.end_offsets(places)).items():
            ends.setdefault(place.topic, {})[place.partition] = end
    except (KafkaError, OSError) as error:
        raise Problem(f"Kafka does not answer: {error!r}", remedy="Look at it with `calotype status`.") from error
    finally:
        await consumer.stop()
        await admin.close()
    return Positions(ends=ends, groups=groups)


async def rewind(bootstrap: str, positions: Positions) -> None:
    """Puts every group where it stood; none of them may have a member."""
    for group, topics in positions.groups.items():
        offsets = {
            TopicPartition(topic, number): offset for topic, at in topics.items() for number, offset in at.items()
        }
        if not offsets:
            continue
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(list(offsets))
            await consumer.commit(offsets)
        finally:
            await consumer.stop()


def _numbered(topics: Mapping[str, Mapping[str, int]]) -> dict[str, dict[int, int]]:
    return {topic: {int(number): offset for number, offset in at.items()} for topic, at in topics.items()}
