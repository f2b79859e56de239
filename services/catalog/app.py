"""The catalog's composition root."""

from services.catalog import handler, http
from services.catalog.feed import Feed
from services.catalog.review.desk import KIND, Desk, given_up
from services.catalog.routes.frame import Reading
from shared.current import wire_current
from shared.leases import Worker
from shared.service import Service


async def build(service: Service) -> None:
    feed = Feed(service.database)
    desk = Desk(service.facts, feed, public_url=service.settings.public_url)
    handler.wire(service.bus, feed=feed)
    wire_current(service.bus, stage="catalog")
    reading = Reading(service.database, service.gate, service.settings.public_url.rstrip("/"))
    http.wire(
        service.app,
        reading=reading,
        desk=desk,
        feed=feed,
        blobs=service.blobs,
        outbox=service.facts,
        producer=service.producer,
    )
    if "work" in service.roles:
        service.add(
            Worker(
                stage="catalog",
                outbox=service.facts,
                pool=service.database,
                kinds=[KIND],
                run_many=desk.run_due,
                record=desk.record_due,
                exhausted=given_up,
                lease_seconds=service.settings.lease_seconds,
            )
        )
    service.add(feed)
