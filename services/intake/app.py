"""Intake's composition root.

The first workspace of an installation is made over HTTP with the token of CALOTYPE_BOOTSTRAP_TOKEN:
`POST /v1/workspaces {"name": …}` answers with the token of its first admin key, and that key does the rest:
`POST /v1/library`, `POST /v1/keys`, `POST /v1/links`. Without the setting nobody can make a workspace.
"""

from services.intake import handler, http, http_accounts, http_batches, http_library, http_more, http_sources
from services.intake.front import Front
from services.intake.pictures import Pictures
from services.intake.settings import IntakeSettings
from services.intake.shelves import Shelves
from services.intake.worker import KINDS, Expander, exhausted
from shared.leases import Worker
from shared.service import Service


async def build(service: Service) -> None:
    settings = service.settings
    assert isinstance(settings, IntakeSettings)
    pool, outbox, blobs = service.database, service.facts, service.blobs
    shelves = Shelves()
    expander = Expander(pool, blobs, shelves)
    worker = Worker(
        stage="intake",
        outbox=outbox,
        pool=pool,
        kinds=KINDS,
        run=expander.run,
        record=expander.record,
        exhausted=exhausted,
        concurrency=settings.expand_concurrency,
        lease_seconds=settings.lease_seconds,
    )
    front = Front(pool, outbox)
    intake = http.Intake(
        pool=pool, outbox=outbox, gate=service.gate, blobs=blobs, shelves=shelves, front=front, worker=worker
    )
    http.wire(service.app, intake)
    http_more.wire(service.app, intake)
    http_batches.wire(service.app, intake)
    http_library.wire(service.app, intake)
    http_sources.wire(service.app, intake, Pictures(decode_seconds=settings.decode_seconds))
    http_accounts.wire(service.app, intake, bootstrap_token=settings.bootstrap_token.get_secret_value())
    handler.wire(service.bus, shelves=shelves, blobs=blobs)
    if "work" in service.roles:
        service.add_worker(worker)
