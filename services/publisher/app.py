"""The publisher's composition root."""

from uuid import UUID

import httpx

from services.publisher import handler, http, settling
from services.publisher.outages import Claims
from services.publisher.settings import PublisherSettings
from services.publisher.targets import Outside, Target, open_target
from services.publisher.worker import Publisher, exhausted
from shared.credentials import Verifier
from shared.current import wire_current
from shared.leases import Worker
from shared.library.documents import TargetDocument
from shared.outages import Pace
from shared.service import Service


async def build(service: Service) -> None:
    settings = service.settings
    assert isinstance(settings, PublisherSettings)
    folder = settings.publish_folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    outside = Outside(
        secrets=settings.webhook_keys,
        networks=settings.target_networks,
        tls=httpx.create_ssl_context(),  # reads SSL_CERT_FILE; made once, it takes longer than a delivery
    )

    def open_at(document: TargetDocument, workspace: UUID) -> Target:
        return open_target(document, workspace=workspace, publish_folder=folder, outside=outside)

    pace = Pace(first=settings.publish_retry_seconds, ceiling=settings.publish_retry_ceiling_seconds)
    anchors = settings.trust_anchors and settings.trust_anchors.read_text()
    verifier = Verifier(anchors=anchors or None, count=settings.verify_children)
    publisher = Publisher(pool=service.database, blobs=service.blobs, open_target=open_at, pace=pace, verifier=verifier)
    claims = Claims()
    worker = Worker(
        stage="publisher",
        outbox=service.facts,
        pool=service.database,
        kinds=[handler.KIND],
        run=publisher.run,
        record=publisher.record,
        exhausted=exhausted,
        claim=claims.claim,
        concurrency=settings.publish_concurrency,
        lease_seconds=settings.lease_seconds,
    )
    claims.worker = worker
    handler.wire(service.bus, worker=worker)
    wire_current(service.bus, stage="publisher")
    http.wire(service.app, pool=service.database, gate=service.gate)
    settling.wire(service.app, pool=service.database, gate=service.gate, outbox=service.facts)
    if "work" in service.roles:
        service.add(verifier)
        service.add_worker(worker)
