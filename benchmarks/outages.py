"""What targets that hang cost one that does not: its publications a second beside them, against alone.

A worker on a real Postgres, its backlog queued before the clock starts. The good target answers after 20 ms; those that
hang take every call's whole time-out. Time is scaled by 20: a time-out of 20 s is 1 s, waits grow from 50 ms to 15 s.
Aims: beside_one_vs_alone and beside_twenty_vs_alone ≥ 0.9.
"""

import asyncio
import secrets
import time
from uuid import UUID, uuid4

from benchmarks.frame import Result, arguments, interleave, report, run, say
from deploy.local.servers import EmbeddedServers
from services.publisher.domain import Delivered, Delivery
from services.publisher.handler import KIND, apply_approvals, apply_targets
from services.publisher.outages import Claims
from services.publisher.settings import PublisherSettings
from services.publisher.targets import Read, Target, Uncertain
from services.publisher.worker import Publisher, exhausted
from shared.blobs import open_blobs
from shared.contracts.golden import AT, golden
from shared.events import AssetApproved, Confidentiality, LibraryItemChanged, Receipt, SourceType, Verified
from shared.ids import derive
from shared.kafka import Producer
from shared.leases import Worker
from shared.library.documents import TargetDocument
from shared.observability import configure_logs
from shared.outages import Pace
from shared.outbox import Outbox
from shared.postgres import Pool, migrate_all, open_pool

ANSWER_SECONDS = 0.02
HANG_SECONDS = 1.0
PACE = Pace(first=0.05, ceiling=15.0)
GOOD = "good"
EMPTY = (
    "delete from work; delete from publications; delete from assets; delete from targets;"
    " delete from outages; delete from outbox"
)


class Good:
    """Takes everything; rings once the last has come."""

    keyed = True

    def __init__(self, expected: int) -> None:
        self._left = expected
        self.finished = asyncio.Event()

    async def deliver(self, delivery: Delivery, *, read: Read) -> Delivered:  # noqa: ARG002
        await asyncio.sleep(ANSWER_SECONDS)
        self._left -= 1
        if not self._left:
            self.finished.set()
        receipt = Receipt(location="good:", sha256="0" * 64, bytes=1, name="message")
        return Delivered(location="good:", receipts=[receipt], verified=Verified.ACKNOWLEDGED)

    async def close(self) -> None:
        pass


class Hanging:
    keyed = True

    async def deliver(self, delivery: Delivery, *, read: Read) -> Delivered:  # noqa: ARG002
        await asyncio.sleep(HANG_SECONDS)
        raise Uncertain("no answer")

    async def close(self) -> None:
        pass


def approval(number: int, workspace: UUID) -> AssetApproved:
    changed = {
        "workspace": workspace,
        "asset_version_id": derive(workspace, number),
        "event_id": derive("event", workspace, number),
        "occurred_at": AT,
        "source_type": SourceType.TRAINED,
        "confidentiality": Confidentiality.PUBLIC,
    }
    return AssetApproved(**golden(AssetApproved).model_dump() | changed)


def known(name: str, workspace: UUID) -> LibraryItemChanged:
    document = TargetDocument(name=name, version=1, owner="bench", type="folder")
    return LibraryItemChanged.of(
        cause_id=name,
        occurred_at=AT,
        workspace=workspace,
        item=f"{workspace}/target/{name}",
        kind="target",
        name=name,
        version=1,
        digest=document.pin().digest,
        state="published",
        document=document.model_dump(mode="json"),
    )


class Bench:
    def __init__(self, pool: Pool, settings: PublisherSettings, publications: int) -> None:
        self._pool = pool
        self._outbox = Outbox(pool, Producer(settings))  # never started: nothing is sent
        self._blobs = open_blobs(settings.blobs_url, public_url=settings.public_url, secret="")
        self._concurrency = settings.publish_concurrency
        self._publications = publications

    async def alone(self) -> dict[str, float]:
        return await self._beside(0)

    async def beside_one(self) -> dict[str, float]:
        return await self._beside(1)

    async def beside_twenty(self) -> dict[str, float]:
        return await self._beside(20)

    async def _beside(self, hanging: int) -> dict[str, float]:
        await self._pool.execute(EMPTY)
        good = Good(self._publications)

        def open_target(document: TargetDocument, _workspace: UUID) -> Target:
            return good if document.name == GOOD else Hanging()

        publisher = Publisher(pool=self._pool, blobs=self._blobs, open_target=open_target, pace=PACE)
        claims = Claims()
        worker = Worker(
            stage="publisher",
            outbox=self._outbox,
            pool=self._pool,
            kinds=[KIND],
            run=publisher.run,
            record=publisher.record,
            exhausted=exhausted,
            concurrency=self._concurrency,
            claim=claims.claim,
        )
        claims.worker = worker
        await self._fill(worker, hanging)
        started = time.perf_counter()
        await worker.start()
        await good.finished.wait()
        seconds = time.perf_counter() - started
        await worker.stop(within=0)
        return {"publications_per_second": self._publications / seconds}

    async def _fill(self, worker: Worker, hanging: int) -> None:
        workspace = uuid4()
        names = [GOOD, *(f"hangs-{number}" for number in range(hanging))]
        async with self._outbox.transaction() as transaction:
            await apply_targets(transaction, [known(name, workspace) for name in names], worker=worker)
        for first in range(0, self._publications, 500):
            many = range(first, min(first + 500, self._publications))
            async with self._outbox.transaction() as transaction:
                await apply_approvals(transaction, [approval(n, workspace) for n in many], worker=worker)
        await self._pool.execute("analyze work, publications")


async def main(running: EmbeddedServers) -> None:
    given = arguments(__doc__, more=[("--publications", {"type": int, "default": 3_000})])
    configure_logs(service="publisher", level="error")
    await migrate_all(running.admin_database_url, stages=["publisher"])
    settings = PublisherSettings(kafka_bootstrap=running.kafka_bootstrap, topic_prefix=f"b{secrets.token_hex(3)}.")
    result = Result("outages", f"one worker, {settings.publish_concurrency} publications at once")
    pool = await open_pool(running.admin_database_url, stage="publisher")
    bench = Bench(pool, settings, given.publications)
    say(f"{given.publications:,} publications for each target; three arms, {given.rounds} rounds")
    arms = {"alone": bench.alone, "beside_one": bench.beside_one, "beside_twenty": bench.beside_twenty}
    await interleave(result, arms, rounds=given.rounds)
    ratios = {f"{arm}_vs_alone": result.ratio(arm, "alone", "publications_per_second") for arm in list(arms)[1:]}
    report(result, ratios, save=given.save, publications=given.publications)
    await pool.close()


if __name__ == "__main__":
    run(main)
