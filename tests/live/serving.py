"""A stage's whole service in this process, on topics of its own, and what it says."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer

from shared.kafka import create_topics
from shared.service import Service, open_service
from shared.settings import Settings


@asynccontextmanager
async def serving(
    stage: str,
    settings: Settings,
    build: Callable[[Service], Awaitable[None]],
    *,
    roles: Iterable[str],
    topics: Iterable[str],
    database: bool = True,
) -> AsyncIterator[tuple[Service, AIOKafkaConsumer]]:
    """`topics`: those that the consumer hears from their beginning, without the prefix."""
    await create_topics(settings)
    heard = AIOKafkaConsumer(
        *(settings.topic_prefix + topic for topic in topics),
        bootstrap_servers=settings.kafka_bootstrap,
        auto_offset_reset="earliest",
    )
    service = await open_service(stage, settings, roles=frozenset(roles), database=database)
    await build(service)
    await service.start()
    await heard.start()
    try:
        yield service, heard
    finally:
        await heard.stop()
        await service.stop()
