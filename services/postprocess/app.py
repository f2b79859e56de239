"""Composition root of stage 4: the only reader of its settings."""

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path

from services.postprocess import http
from services.postprocess.children import Children
from services.postprocess.handler import ANEW, KIND, wire
from services.postprocess.previewing import Previews
from services.postprocess.settings import PostprocessSettings
from services.postprocess.signing import Chain, KeySigner, RemoteSigner, Signer
from services.postprocess.studio import Studio
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
    signer = signer_of(settings)
    chain = signer.chain if signer is not None else None
    library = Library(service.blobs)
    children = children_of(settings, count=settings.children, signer=signer)
    processor = Processor(
        blobs=service.blobs,
        library=library,
        children=children,
        progress=progress_of(service),
        proxies=settings.review_proxies,
        twins=Twins(service.database),
        chain=chain,
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
    wire(service.bus, worker=worker, proxies=settings.review_proxies, signs=signer is not None)
    wire_current(service.bus, stage=STAGE)
    kept = max(timedelta(days=settings.history_days), remembered(STAGE))
    service.histories.append(History(table="likenesses", kept=kept, ended="asked_at"))
    looking = children_of(settings, count=settings.preview_children)
    studio = Studio(
        blobs=service.blobs, library=library, children=looking, chain=chain, at_once=settings.preview_children
    )
    http.wire(service.app, Previews(studio, service.database), gate=service.gate)
    service.add(looking)
    if "work" in service.roles:
        if signer is not None:
            service.add(signer)
            service.checks["signing certificate"] = signer.chain.ready
        service.add(children)
        service.add_worker(worker)


def signer_of(settings: PostprocessSettings) -> Signer | None:
    """Who signs; None: nobody. Raises BadKey: a service that cannot sign as it was told does not start."""
    pem = _given(settings.signing_certificates, settings.signing_certificates_file)
    if pem is None:
        return None
    chain = Chain.read(pem, anchors=_given(None, settings.trust_anchors))
    if settings.signing_url is not None:
        token = settings.signing_token.get_secret_value()
        return RemoteSigner(chain, url=settings.signing_url, token=token, seconds=settings.signing_seconds)
    key = settings.signing_key and settings.signing_key.get_secret_value()
    return KeySigner(chain, _given(key or None, settings.signing_key_file) or "")


def _given(text: str | None, file: Path | None) -> str | None:
    return text or (file.read_text() if file is not None else None)


def children_of(settings: PostprocessSettings, *, count: int, signer: Signer | None = None) -> Children:
    return Children(
        count=count,
        seconds=settings.child_seconds,
        decode_seconds=settings.decode_seconds,
        memory_mb=settings.child_memory_mb + (settings.model_memory_mb if settings.models else 0),
        models=settings.models,
        mark_key=settings.mark(),
        fonts=settings.fonts,
        signer=signer,
    )


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
