"""Where replays are asked for: written down with who asked, refused or queued, and read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field

from services.inference.domain import Cost
from services.inference.limits import Limit
from services.inference.replaying import Manifest, Order, order_of, read, work_kind
from services.inference.replays import Ended, cancelled, end, manifest_key, queries
from services.inference.standing import places_of
from services.inference.standing import queries as standing
from services.inference.tables import RoutingTables
from services.inference.turns import Purse
from shared.audit import acted
from shared.blobs import Blobs
from shared.comparing import Verdict
from shared.errors import BlobMissing
from shared.events import Lane
from shared.http import HttpProblem
from shared.identity import Caller
from shared.leases import NewWork, Worker, enqueue
from shared.library.documents import Backend, Routes
from shared.postgres import Connection, Pool, noted, transaction, workspace_transaction

SHOWN = 50
SHA256 = r"^[0-9a-f]{64}$"


class ReplayAsked(BaseModel):
    """`manifest_sha256` as `GET /v1/assets/{id}` tells it. Without `pay` nobody is called who sends a bill."""

    model_config = ConfigDict(extra="forbid")

    asset_id: UUID
    manifest_sha256: str = Field(pattern=SHA256)
    pay: bool = False


class ChangeFound(BaseModel):
    """A field of the manifest that is another now; null: it was, or is, not there."""

    field: str
    then: Any
    now: Any


class MeasureFound(BaseModel):
    """How far the pictures are from each other.

    `psnr` in dB, absent where every pixel is the same and only the file differs; `largest` is the most that a channel
    differs, of 255; `differing` the part of the pixels that differ at all.
    """

    psnr: float | None
    largest: int
    differing: float


class Replay(BaseModel):
    """One time that an image was made again; a `cost` of null is not known; `device_seconds` of a device of ours.

    `uncertain`: it may have been billed, until somebody settles it (`GET /v1/uncertain`). `state`: pending, running,
    judged (it has a verdict), cancelled or failed (`detail` says why). `waits`: where one that is pending stands in the
    queue, and what holds it.
    """

    replay_id: UUID
    asset_id: UUID
    number: int
    manifest_sha256: str
    backend: str
    state: str
    step: int | None
    steps: int | None
    verdict: Verdict | None
    measure: MeasureFound | None
    changed: list[ChangeFound]
    reason: str | None
    detail: str | None
    waits: str | None = None
    cost: str | None
    currency: str
    price_list: str | None
    provider_request_id: str | None
    seconds: float | None
    device_seconds: float | None
    uncertain: bool = False
    asked_by: str
    asked_at: datetime
    ended_at: datetime | None


class Replays(BaseModel):
    """Newest first."""

    replays: list[Replay]


@dataclass(frozen=True, kw_only=True)
class ReplayDesk:
    """`workers`: of this process, by what they claim."""

    pool: Pool
    blobs: Blobs
    tables: RoutingTables
    workers: Mapping[str, Worker]
    accounts: Mapping[str, Limit]

    async def begin(self, asked: ReplayAsked, caller: Caller, *, traceparent: str) -> Replay:
        """The replay that was under way, else a new one. Raises HttpProblem where it is refused."""
        manifest = await _manifest(self.blobs, caller.workspace, asked)
        kind = None
        running = workspace_transaction(self.pool, stage="inference", workspace=caller.workspace)
        async with noted(running) as connection:
            await self.tables.refresh(connection, [caller.workspace])
            await queries.one_at_a_time(connection, asset=asked.asset_id)
            last = await queries.last(connection, asset=asked.asset_id)
            if last is None or last["ended"]:
                ask = self._ask(manifest, asked, caller, number=1 + (last["number"] if last is not None else 0))
                if manifest.is_seeded and ask.order.cost is not None:
                    await _refuse_beyond_cap(connection, ask.order.cost, caller.workspace)
                kind = await _write(connection, ask, caller, traceparent=traceparent)
                replay = ask.order.replay_id
            else:
                replay = last["replay_id"]
        if kind is not None and kind in self.workers:
            self.workers[kind].wake()
        (found,) = await self.listed(caller.workspace, replay=replay)
        return found

    async def cancel(self, replay: UUID, caller: Caller) -> Replay:
        """What waits ends at once, what is being made at its next step. Raises HttpProblem where it is over."""
        running = workspace_transaction(self.pool, stage="inference", workspace=caller.workspace)
        async with noted(running) as connection:
            payload = await queries.drop(connection, replay=replay)
            asset = await queries.cancel(connection, replay=replay, by=caller.principal)
            if asset is not None:
                await acted(
                    connection,
                    by=caller.principal,
                    workspace=caller.workspace,
                    action="replay.cancel",
                    subject=str(asset),
                    detail={"replay": replay},
                )
            if payload is not None:
                order = Order.model_validate_json(payload)
                await end(connection, cancelled(order, caller.principal))
        found = await self.listed(caller.workspace, replay=replay)
        if not found:
            raise no_replay(replay)
        if found[0].state in ("judged", "failed"):
            what = f"it is over: {found[0].verdict or found[0].state}"
            raise HttpProblem("already_over", what, where=str(replay), remedy="ask for another one", status=409)
        return found[0]

    async def listed(self, workspace: UUID, *, asset: UUID | None = None, replay: UUID | None = None) -> list[Replay]:
        """Newest first."""
        async with workspace_transaction(self.pool, stage="inference", workspace=workspace) as connection:
            found = await _replays(connection, asset=asset, replay=replay)
            pending = [each.replay_id for each in found if each.state == "pending"]
            rows = [row async for row in queries.waiting(connection, replays=pending)] if pending else []
        if rows:
            async with transaction(self.pool) as connection:
                places = await places_of(connection, rows, tables=self.tables, accounts=self.accounts)
            words = {place.job_id: place.words for place in places}
            found = [each.model_copy(update={"waits": words.get(each.replay_id)}) for each in found]
        return found

    def _ask(self, manifest: Manifest, asked: ReplayAsked, caller: Caller, *, number: int) -> "Ask":
        table = self.tables.table_of(caller.workspace)
        backend = _backend(table, manifest)
        label = table.label if isinstance(table, Routes) else ""
        order = order_of(
            manifest, backend, table=label, asset=asked.asset_id, sha256=asked.manifest_sha256, number=number
        )
        if manifest.is_seeded:
            _refuse(order, self.tables, caller.workspace, pay=asked.pay)
        return Ask(manifest=manifest, order=order, backend=backend, number=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What may be made again; `backend` as it stands in today's table."""

    manifest: Manifest
    order: Order
    backend: Backend | None
    number: int


async def _manifest(blobs: Blobs, workspace: UUID, asked: ReplayAsked) -> Manifest:
    """In the caller's own workspace, or it is not there."""
    try:
        manifest = read(await blobs.get(manifest_key(workspace, asked.asset_id, asked.manifest_sha256)))
    except BlobMissing:
        manifest = None
    if manifest is None or manifest.asset_id != asked.asset_id:
        raise HttpProblem(
            "not_found",
            f"asset {asked.asset_id} has no manifest {asked.manifest_sha256[:12]}… here",
            remedy="take both from GET /v1/assets/{id}; manifests live as long as the asset's files",
        )
    return manifest


def no_replay(replay: UUID) -> HttpProblem:
    remedy = "GET /v1/replays lists the last ones, with ?asset_id= those of an asset"
    return HttpProblem("not_found", "there is no such replay", where=str(replay), remedy=remedy)


def _backend(table: Any, manifest: Manifest) -> Backend | None:
    """As it stands in today's table; None where it left it."""
    backends = table.backends if isinstance(table, Routes) else []
    route = manifest.route
    return next((each for each in backends if (each.name, each.kind) == (route.backend, route.kind)), None)


def _refuse(order: Order, tables: RoutingTables, workspace: UUID, *, pay: bool) -> None:
    why = tables.barred(workspace, order.sent)
    if order.kind not in tables.kinds or order.kind == "null":
        why = f"this deployment runs no backend of kind {order.kind!r}"
    if why is not None:
        what = f"{order.backend!r} may not make it by today's table: {why}"
        remedy = "publish routes that may send it there, then ask again"
        raise HttpProblem("not_replayable", what, where=order.backend, remedy=remedy, status=409)
    if order.bills and not pay:
        price = "at a price that nobody knows" if order.price is None else f"for {order.price} {order.currency}"
        raise HttpProblem(
            "would_be_billed",
            f"{order.backend!r} sends a bill for every image, {price}",
            where="pay",
            remedy="ask with `pay` (`calotype replay ASSET --pay`) to have it made again",
            status=409,
        )


async def _refuse_beyond_cap(connection: Connection, cost: Cost, workspace: UUID) -> None:
    """What fits the cap of no day is refused to whoever asks for it; what fits today's no more waits."""
    cap = None
    async for row in standing.caps(connection, workspaces=[workspace]):
        cap = row["cap"]
    if Purse(cap).affords(cost):
        return
    what = f"{cost.amount} {cost.currency}" if cost.amount is not None else "what nobody knows, for it has no price,"
    raise HttpProblem(
        "beyond_the_cap",
        f"it would cost {what} and the workspace's spend cap is {cap} a day",
        remedy="raise the cap (calotype workspace limit)" + ("" if cost.amount else ", or give the backend a price"),
        status=409,
    )


async def _write(connection: Connection, ask: Ask, caller: Caller, *, traceparent: str) -> str | None:
    """Writes it down and queues it; what kind of work it is, None where there is none to do."""
    manifest, order = ask.manifest, ask.order
    backend = manifest.route.backend
    asked_at = await queries.ask(
        connection,
        replay=order.replay_id,
        workspace=caller.workspace,
        asset=order.asset_id,
        number=ask.number,
        manifest=order.manifest_sha256,
        backend=backend,
        by=caller.principal,
        currency=order.currency,
        price_list=order.price_list,
    )
    await acted(
        connection,
        by=caller.principal,
        workspace=caller.workspace,
        action="replay.ask",
        subject=str(order.asset_id),
        detail={"replay": order.replay_id, "backend": backend, "bills": manifest.is_seeded and order.bills},
    )
    if not manifest.is_seeded:
        detail = f"{backend!r} takes no seed: it would make another image. It was not called."
        await end(connection, Ended(order=order, verdict=Verdict.NOT_REPRODUCIBLE, detail=detail, cost=Decimal(0)))
        return None
    kind = work_kind(order, ask.backend)
    work = NewWork(
        work_id=order.replay_id,
        asked_at=asked_at,
        kind=kind,
        workspace=caller.workspace,
        payload=order.model_dump_json(exclude_none=True),
        lane=Lane.BULK.value,
        subject=backend,
        traceparent=traceparent,
    )
    await enqueue(connection, [work])
    if (cost := order.cost) is not None:
        await queries.price(connection, replay=work.work_id, asked=asked_at, currency=cost.currency, amount=cost.amount)
    return kind


async def _replays(connection: Connection, *, asset: UUID | None = None, replay: UUID | None = None) -> list[Replay]:
    return [
        Replay(
            **dict(row)
            | {
                "measure": row["measure"] and orjson.loads(row["measure"]),
                "changed": orjson.loads(row["changed"] or "[]"),
                "cost": None if row["cost"] is None else f"{row['cost']:f}",
            }
        )
        async for row in queries.replays(connection, asset=asset, replay=replay, many=SHOWN)
    ]
