"""The Kafka edge: one subscriber on every topic, and one on what other groups refused."""

from collections.abc import Sequence
from dataclasses import replace

from services.catalog.deadletters import DeadLetter, keep_dead_letters, read_dead_letter
from services.catalog.feed import Feed
from services.catalog.ledger.facts import Fact, hear
from services.catalog.ledger.writing import Writing
from shared.bus import Bus
from shared.outbox import Transaction
from shared.topics import DEAD_LETTER_RETENTION, TOPICS

HEARD = tuple(topic for topic in TOPICS if "catalog" in topic.consumers)
DEAD = tuple(
    replace(
        topic,
        name=topic.dead_letters,
        events=(),
        consumers=("catalog",),
        retention=DEAD_LETTER_RETENTION,
        public=False,
        ephemeral=False,
    )
    for topic in TOPICS
)


def wire(bus: Bus, *, feed: Feed) -> None:
    async def write(transaction: Transaction, facts: Sequence[Fact]) -> None:
        writing = Writing(transaction, feed)
        await writing.keep(facts)
        await writing.close()

    @bus.project(*HEARD, group="catalog", apply=write, decode=hear)
    def on_fact(fact: Fact) -> Fact:
        return fact

    @bus.project(*DEAD, group="catalog-dead-letters", apply=keep_dead_letters, decode=read_dead_letter)
    def on_dead_letter(letter: DeadLetter) -> DeadLetter:
        return letter
