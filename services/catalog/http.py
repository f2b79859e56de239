"""The HTTP side: what has happened, what stands where, and what people decide."""

from collections.abc import Sequence

from fastapi import FastAPI

from services.catalog.feed import Feed
from services.catalog.review.desk import Desk
from services.catalog.routes import (
    assets,
    deadletters,
    decisions,
    events,
    files,
    jobs,
    lives,
    rebuilds,
    reruns,
    retries,
    statistics,
)
from services.catalog.routes.frame import Reading
from services.catalog.web.data import CatalogPages
from services.catalog.web.pages import pages
from shared.blobs import Blobs
from shared.kafka import Producer
from shared.library.pinned import Library
from shared.outbox import Outbox


def wire(
    app: FastAPI,
    *,
    reading: Reading,
    desk: Desk,
    feed: Feed,
    blobs: Blobs,
    outbox: Outbox,
    producer: Producer,
    database_url: str,
    image_origins: Sequence[str] = (),
) -> None:
    """`database_url` is for sessions past a pooler; `image_origins` are where files are served from, if not by us."""
    app.include_router(jobs.routes(reading))
    app.include_router(retries.routes(reading, desk))
    app.include_router(statistics.routes(reading))  # before one asset's, whose address would take its word for an id
    app.include_router(assets.routes(reading))
    app.include_router(reruns.routes(reading, desk, Library(blobs)))
    app.include_router(files.routes(reading, blobs, secret=reading.gate.secret))
    app.include_router(decisions.routes(reading, desk))
    app.include_router(lives.routes(reading))
    app.include_router(rebuilds.routes(reading, feed, database_url=database_url))
    app.include_router(events.routes(reading, feed))
    shown = CatalogPages(reading, desk, feed, blobs)
    app.include_router(pages(shown, who=shown.viewer, image_origins=image_origins))
    app.include_router(deadletters.routes(reading, outbox=outbox, producer=producer, feed=feed))
