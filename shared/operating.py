"""What an operator sees of every stage's work and may hold back: its queue, who works, and its brakes.

A caller sees and brakes its own workspace's work; whoever runs the installation brakes everybody's.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import aiosql
from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from shared.audit import acted
from shared.brakes import Kind, Mode, brake, release_brake
from shared.http import Gate, HttpProblem
from shared.identity import ROLES, Caller, May
from shared.postgres import Connection, Pool, transaction, workspace_transaction

queries = aiosql.from_path(Path(__file__).parent / "sql/work.sql", "asyncpg")

# Which brakes reach which stage's work. A lane's holds back new pictures; what is made already is finished.
HOLDS: Mapping[str, tuple[Kind, ...]] = {
    "inference": ("backend", "lane", "workspace"),
    "postprocess": ("workspace",),
    "publisher": ("target", "workspace"),
}
LANES = ("dedicated", "standard", "bulk")
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Line(BaseModel):
    """One kind of work in one lane: `delayed` waits for a retry, `held` stands behind a brake.

    `oldest_seconds` is the age of what waits longest.
    """

    lane: str
    kind: str
    waiting: int
    running: int
    delayed: int
    held: int = 0
    oldest_seconds: float | None


class Holder(BaseModel):
    """A worker process that holds leases: how many, of which kinds, how many of them have run out."""

    worker: str
    leases: int
    run_out: int
    kinds: list[str]
    oldest_seconds: float


class Braked(BaseModel):
    """A brake in force: who put it on, when and why; how much it holds, and how much of it still runs."""

    stage: str
    kind: Kind
    name: str
    everyone: bool
    mode: Mode
    by: str
    reason: str | None
    since: datetime
    held: int = Field(description="Counted to 100,000")
    running: int


class Queue(BaseModel):
    """The caller's work that is not over, who works on it, and what holds it up."""

    stage: str
    lines: list[Line]
    workers: list[Holder]
    brakes: list[Braked]


class Standing(BaseModel):
    """One job in this stage's queue."""

    job_id: UUID
    kind: str
    lane: str
    subject: str | None
    worker: str | None
    delayed_until: datetime | None
    detail: str | None
    failures: int
    losses: int
    since: datetime
    brake: Braked | None


class Braking(BaseModel):
    model_config = ConfigDict(extra="forbid")

    mode: Mode
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
    everyone: bool = Field(default=False, description="Of all workspaces: for whoever runs the installation")


def wire(app: FastAPI, *, stage: str, pool: Pool, gate: Gate) -> None:
    _wire_queue(app, stage=stage, pool=pool, gate=gate)
    if stage in HOLDS:
        _wire_brakes(app, stage=stage, pool=pool, gate=gate)


async def queue_of(pool: Pool, stage: str, workspace: UUID) -> Queue:
    async with workspace_transaction(pool, stage=stage, workspace=workspace) as connection:
        lines = [Line(**dict(row)) async for row in queries.lines(connection)]
        workers = [
            Holder(
                worker=row["holder"], **{name: row[name] for name in ("leases", "run_out", "kinds", "oldest_seconds")}
            )
            async for row in queries.workers(connection)
        ]
    return Queue(
        stage=stage, lines=lines, workers=workers, brakes=list((await _brakes(pool, stage, workspace)).values())
    )


async def _brakes(pool: Pool, stage: str, workspace: UUID) -> dict[int, Braked]:
    """By id. Not under the caller's row security: what holds everybody up names no workspace."""
    async with transaction(pool) as connection:
        return {
            row["brake_id"]: Braked(
                stage=stage,
                everyone=row["workspace"] is None,
                by=row["braked_by"],
                **{name: row[name] for name in ("kind", "name", "mode", "reason", "since", "held", "running")},
            )
            async for row in queries.brakes(connection, workspace=workspace)
        }


def _wire_queue(app: FastAPI, *, stage: str, pool: Pool, gate: Gate) -> None:
    reader = Depends(gate.needs(May.READ))

    @app.get(f"/v1/stages/{stage}/queue")
    async def queue(caller: Annotated[Caller, reader]) -> Queue:
        return await queue_of(pool, stage, caller.workspace)

    @app.get(f"/v1/stages/{stage}/work")
    async def work(
        request: Annotated[list[UUID], Query(min_length=1, max_length=100)], caller: Annotated[Caller, reader]
    ) -> list[Standing]:
        """Where the jobs of these requests stand here, with a worker or behind which brake; not what is over."""
        async with workspace_transaction(pool, stage=stage, workspace=caller.workspace) as connection:
            rows = [row async for row in queries.work_of(connection, requests=request)]
        brakes = await _brakes(pool, stage, caller.workspace) if any(row["parked"] for row in rows) else {}
        return [
            Standing(
                worker=row["holder"],
                delayed_until=row["ready_at"] if row["later"] and row["holder"] is None else None,
                since=row["created_at"],
                brake=brakes.get(row["parked"]),
                **{name: row[name] for name in ("job_id", "kind", "lane", "subject", "detail", "failures", "losses")},
            )
            for row in rows
        ]


def _wire_brakes(app: FastAPI, *, stage: str, pool: Pool, gate: Gate) -> None:
    reader, operator = Depends(gate.needs(May.READ)), Depends(gate.needs(May.OPERATE))

    @app.get(f"/v1/stages/{stage}/brakes")
    async def brakes(caller: Annotated[Caller, reader]) -> list[Braked]:
        """Those that hold the caller's work."""
        return list((await _brakes(pool, stage, caller.workspace)).values())

    @app.put(f"/v1/stages/{stage}/brakes/{{kind}}/{{name}}")
    async def put_on(kind: Kind, name: Name, ask: Braking, caller: Annotated[Caller, operator]) -> Braked:
        """Nothing of that name starts from now on; what runs goes on. The same again says why anew."""
        _know(stage, kind, name)
        whose = _whose(caller, kind, name, everyone=ask.everyone)
        async with transaction(pool) as connection:
            await brake(
                connection, kind=kind, name=name, mode=ask.mode, by=caller.principal, reason=ask.reason, workspace=whose
            )
            await _act(connection, caller, whose, f"brake.{ask.mode}", f"{kind}/{name}", reason=ask.reason)
        found = (await _brakes(pool, stage, whose or caller.workspace)).values()
        return next(b for b in found if (b.kind, b.name, b.everyone) == (kind, name, ask.everyone))

    @app.delete(f"/v1/stages/{stage}/brakes/{{kind}}/{{name}}")
    async def take_off(
        kind: Kind, name: Name, caller: Annotated[Caller, operator], *, everyone: bool = False
    ) -> dict[str, Any]:
        """Lets go what the brake held; `released` is false where there was none."""
        _know(stage, kind, name)
        whose = _whose(caller, kind, name, everyone=everyone)
        async with transaction(pool) as connection:
            released = await release_brake(connection, kind=kind, name=name, by=caller.principal, workspace=whose)
            if released:
                await _act(connection, caller, whose, "brake.resume", f"{kind}/{name}")
        return {"stage": stage, "kind": kind, "name": name, "released": released}


async def _act(
    connection: Connection, caller: Caller, whose: UUID | None, action: str, subject: str, **detail: Any
) -> None:
    """Kept where it is felt; what everybody feels, in the workspace of who did it."""
    told = detail if whose else detail | {"everyone": True}
    await acted(
        connection,
        by=caller.principal,
        workspace=whose or caller.workspace,
        action=action,
        subject=subject,
        detail=told,
    )


def _know(stage: str, kind: Kind, name: str) -> None:
    if kind not in HOLDS[stage]:
        where = ", ".join(other for other, kinds in HOLDS.items() if kind in kinds)
        raise HttpProblem("not_found", f"{stage} has no {kind} to brake", where="kind", remedy=f"ask {where}")
    if kind == "lane" and name not in LANES:
        raise HttpProblem("not_found", f"there is no lane {name!r}", where="name", remedy=f"one of {', '.join(LANES)}")
    if kind == "workspace" and not _is_id(name):
        raise HttpProblem("invalid_request", f"{name!r} is no workspace id", where="name", remedy="`workspace list`")


def _whose(caller: Caller, kind: Kind, name: str, *, everyone: bool) -> UUID | None:
    """Whose work is meant: the caller's own workspace's, or everybody's.

    Raises:
        HttpProblem: the caller may not brake another workspace, or everybody.
    """
    if everyone and kind == "workspace":
        raise HttpProblem("invalid_request", "a workspace is one workspace", where="everyone", remedy="leave it out")
    is_others = everyone or (kind == "workspace" and name != str(caller.workspace))
    if is_others and not caller.may(May.RUN):
        able = ", ".join(role for role, may in ROLES.items() if May.RUN in may)
        raise HttpProblem(
            "forbidden",
            f"{caller.principal} may not {May.RUN}, and so brakes only {caller.workspace_name or caller.workspace}",
            where="everyone" if everyone else "name",
            remedy=f"use a key with the role {able}: who holds the bootstrap token makes one, `calotype key create`",
        )
    if kind == "workspace":
        return UUID(name)
    return None if everyone else caller.workspace


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
