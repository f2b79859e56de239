"""Composition root of stage 4: the only reader of its settings."""

import asyncio
import contextlib
from datetime import timedelta

from services.postprocess.children import Children
from services.postprocess.handler import ANEW, KIND, wire
from services.postprocess.settings import PostprocessSettings
from services.postprocess.twins import Twins
from services.postprocess.worker import Processor, Progress, exhausted
from shared.current import wire_current
from shared.errors import Unavailable
from shared.events import JobProgressed
from shared.kafka import record_of
from shared.leases import Worker
from shared.library.pinned import Library
from shared.partitions import History, remembered
from shared.service import Service

STAGE = "postprocess"
# Progress on its way to Kafka at once: more means that it is away, and nobody needs yesterday's progress.
MOST_PROGRESS = 64


async def build(service: Service) -> None:
    settings = service.settings
    assert isinstance(settings, PostprocessSettings)
    children = Children(
        count=settings.children,
        seconds=settings.child_seconds,
        decode_seconds=settings.decode_seconds,
        memory_mb=settings.child_memory_mb + (settings.model_memory_mb if settings.models else 0),
        models=settings.models,
        mark_key=settings.mark(),
        fonts=settings.fonts,
    )
    processor = Processor(
        blobs=service.blobs,
        library=Library(service.blobs),
        children=children,
        progress=progress_of(service),
        proxies=settings.review_proxies,
        twins=Twins(service.database),
    )
    worker = Worker(
        stage=STAGE,
        outbox=service.facts,
        pool=service.database,
        kinds=[KIND, ANEW],
        run=processor.run,
        record=processor.record,
        exhausted=exhausted,
        # While every child works, the next originals are fetched and the last files stored.
        concurrency=2 * settings.children,
        lease_seconds=settings.lease_seconds,
    )
    wire(service.bus, worker=worker, proxies=settings.review_proxies)
    wire_current(service.bus, stage=STAGE)
    kept = max(timedelta(days=settings.history_days), remembered(STAGE))
    service.histories.append(History(table="likenesses", kept=kept, ended="asked_at"))
    if "work" in service.roles:
        service.add(children)
        service.add_worker(worker)


def progress_of(service: Service) -> Progress:
    """Ephemeral facts go straight to Kafka, beside the work; while Kafka is away they are left out."""
    sending: set[asyncio.Task[None]] = set()

    async def send(event: JobProgressed) -> None:
        with contextlib.suppress(Unavailable):
            await service.producer.deliver([record_of(event, prefix=service.settings.topic_prefix)])

    def progress(event: JobProgressed) -> None:
        if len(sending) < MOST_PROGRESS:
            task = asyncio.create_task(send(event))
            sending.add(task)
            task.add_done_callback(sending.discard)

    return progress
