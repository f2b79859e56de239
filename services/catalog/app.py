"""The catalog's composition root."""

from urllib.parse import urlsplit

from services.catalog import handler, http
from services.catalog.deadletters import count_trouble
from services.catalog.feed import Feed
from services.catalog.review.desk import KIND, Desk, given_up
from services.catalog.routes.frame import Reading
from services.catalog.settings import CatalogSettings
from shared.current import wire_current
from shared.leases import Worker
from shared.partitions import History
from shared.service import Service

# In partitions so that what is written now meets a small index; kept for ever.
LEDGER = History(table="ledger", moment="occurred_at", kept=None, ended="recorded_at")


async def build(service: Service) -> None:
    settings = service.settings
    assert isinstance(settings, CatalogSettings)
    feed = Feed(service.database)
    desk = Desk(service.facts, feed, public_url=settings.public_url)
    handler.wire(service.bus, feed=feed)
    service.count(count_trouble)
    wire_current(service.bus, stage="catalog")
    service.histories.append(LEDGER)
    reading = Reading(service.database, service.gate, settings.public_url.rstrip("/"))
    http.wire(
        service.app,
        reading=reading,
        desk=desk,
        feed=feed,
        blobs=service.blobs,
        outbox=service.facts,
        producer=service.producer,
        database_url=(settings.database_direct_url or settings.database_url).get_secret_value(),
        image_origins=image_origins(settings),
    )
    if "work" in service.roles:
        service.add_worker(
            Worker(
                stage="catalog",
                outbox=service.facts,
                pool=service.database,
                kinds=[KIND],
                run_many=desk.run_due,
                record=desk.record_due,
                exhausted=given_up,
                lease_seconds=settings.lease_seconds,
            )
        )
    service.add(feed)


def image_origins(settings: CatalogSettings) -> list[str]:
    """Where the pages' pictures come from when a bucket serves them: its own address, by endpoint or by AWS's rule."""
    store = urlsplit(settings.blobs_url)
    if store.scheme != "s3":
        return []
    if settings.s3_endpoint:
        endpoint = urlsplit(settings.s3_endpoint)
        return [f"{endpoint.scheme}://{endpoint.netloc}"]
    return [
        f"https://{store.netloc}.s3.amazonaws.com",
        f"https://{store.netloc}.s3.{settings.aws_region}.amazonaws.com",
    ]
