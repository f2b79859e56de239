"""The publisher's composition root."""

from uuid import UUID

from services.publisher import handler, http
from services.publisher.settings import PublisherSettings
from services.publisher.targets import Target, open_target
from services.publisher.worker import Publisher, exhausted
from shared.current import wire_current
from shared.leases import Worker
from shared.library.documents import TargetDocument
from shared.service import Service


async def build(service: Service) -> None:
    settings = service.settings
    assert isinstance(settings, PublisherSettings)
    folder = settings.publish_folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)

    def open_at(document: TargetDocument, workspace: UUID) -> Target:
        return open_target(document, workspace=workspace, publish_folder=folder)

    publisher = Publisher(pool=service.database, blobs=service.blobs, open_target=open_at)
    worker = Worker(
        stage="publisher",
        outbox=service.facts,
        pool=service.database,
        kinds=[handler.KIND],
        run=publisher.run,
        record=publisher.record,
        exhausted=exhausted,
        concurrency=settings.publish_concurrency,
        lease_seconds=settings.lease_seconds,
    )
    handler.wire(service.bus, worker=worker)
    wire_current(service.bus, stage="publisher")
    http.wire(service.app, pool=service.database, gate=service.gate)
    if "work" in service.roles:
        service.add(worker)
