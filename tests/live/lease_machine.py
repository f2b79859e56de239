"""Random programs over the lease SQL on a clock that the program moves, against a model in a dictionary.

`clock_timestamp()` and `statement_timestamp()` are shadowed by functions of a schema that stands before `pg_catalog` on
the search path, so lease, delay and deadline pass when a program says so. A program runs in one transaction that is
rolled back. Hypothesis draws the programs; where Postgres and the model disagree, it shortens one to the few steps that
show it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import asyncpg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from shared import leases
from shared.events import CancelRequested
from shared.leases import NewWork
from shared.postgres import role_of

STAGE = "inference"
BASE = 1_000_000_000  # the clock's zero
ASKED = datetime.fromtimestamp(BASE, UTC)
LEASE = 30
PIECES = 6
WORKERS = 3
NAMES = UUID("00000000-0000-4000-8000-00000000f00d")
WORKSPACE = uuid5(NAMES, "workspace")
WORK = [uuid5(NAMES, f"work {n}") for n in range(PIECES)]
REQUESTS = [uuid5(NAMES, f"request {n // 2}") for n in range(PIECES)]
JOBS = [uuid5(NAMES, f"job {n}") for n in range(PIECES)]
LANES = ["standard", "bulk"]  # of even and odd pieces; only bulk is braked
PLACE = {work_id: n for n, work_id in enumerate(WORK)}


CLOCK = """
create schema if not exists virtual;
create or replace function virtual.clock_timestamp() returns timestamptz language sql volatile as
    $$ select to_timestamp(current_setting('virtual.now')::float8) $$;
create or replace function virtual.statement_timestamp() returns timestamptz language sql stable as
    $$ select to_timestamp(current_setting('virtual.now')::float8) $$;
grant usage on schema virtual to public;
"""
ROWS = f"""
select work_id, extract(epoch from ready_at)::float8 - {BASE} as ready_at, holder, epoch, failures, losses,
       finished_at is not null as finished, outcome
from work
"""
WEIGHTS = {
    "enqueue": 5,
    "claim": 6,
    "renew": 3,
    "settle": 6,
    "release": 1,
    "advance": 5,
    "cancel": 1,
    "brake": 1,
    "look": 1,
}
STEPS = [name for name, weight in WEIGHTS.items() for _ in range(weight)]
LOOK_EVERY = 8  # steps


class Disagreement(AssertionError):
    """Postgres did something else than the model."""


@dataclass(slots=True)
class Row:
    """A piece of work as it should stand; `ready_at` None: finished."""

    priority: int
    deadline: float | None
    ready_at: float | None
    holder: str | None = None
    epoch: int = 0
    failures: int = 0
    losses: int = 0
    outcome: str | None = None
    number: int = 0  # how many were queued before it

    @property
    def seen(self) -> tuple[Any, ...]:
        return self.ready_at, self.holder, self.epoch, self.failures, self.losses, self.ready_at is None, self.outcome


@dataclass(frozen=True)
class Claim:
    """A way to claim: what takes up to so many for a worker, and the order in which it takes what is due."""

    take: Callable[[Any, str, int], Awaitable[list[Any]]]
    order: Callable[[Row, float], tuple[float, ...]]


@dataclass
class Machine:
    """One run of one program, step by step; its first act sets the clock."""

    connection: Any
    way: Claim
    now: float = 0
    braked: bool = False
    rows: dict[int, Row] = field(default_factory=dict)
    tombstones: set[tuple[UUID, UUID | None]] = field(default_factory=set)
    memory: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Worker → what it believes to hold, piece and epoch; the leases it lost as well."""

    def __post_init__(self) -> None:
        self.memory = {f"worker {n}": [] for n in range(WORKERS)}

    # -- steps

    async def enqueue(self, piece: int, worker: str, number: int) -> None:
        holder = worker if number % 3 == 0 else None
        delay = 0.0 if holder else float(number % 4 * 5)
        deadline = self.now + 20 if number == 7 and piece % 2 == 0 else None
        priority = number % 2
        braked = self._is_braked(piece)
        work = NewWork(
            work_id=WORK[piece],
            asked_at=ASKED,
            kind="make",
            workspace=WORKSPACE,
            payload="{}",
            request_id=REQUESTS[piece],
            job_id=JOBS[piece],
            lane=LANES[piece % 2],
            subject="somewhere",
            priority=priority,
            delay=delay,
            deadline=None if deadline is None else datetime.fromtimestamp(BASE + deadline, UTC),
        )
        new = await leases.enqueue(self.connection, [work], holder=holder, lease=LEASE)
        held = holder is not None and not braked
        known = piece in self.rows
        self._same(f"enqueue {piece}", new == {WORK[piece]}, not known and (held or holder is None))
        if not known:
            self.rows[piece] = Row(priority, deadline, self.now + (LEASE if held else delay), number=len(self.rows))
            if held:
                self.rows[piece].holder, self.rows[piece].epoch = worker, 1
                self.memory[worker].append((piece, 1))

    async def claim_some(self, worker: str, many: int) -> list[Any]:
        due = [n for n, row in self.rows.items() if self._is_due(n, row)]
        order = {n: self.way.order(row, self.now) for n, row in self.rows.items()}
        claimed = await self.way.take(self.connection, worker, many)
        pieces = [PLACE[lease["work_id"]] for lease in claimed]
        self._same("claim takes no piece twice", len(pieces), len(set(pieces)))
        self._same("claim takes only what is due", set(pieces) - set(due), set())
        self._same("claim takes as many as it may", len(pieces), min(many, len(due)))
        for lane in (0, 1):
            taken = [order[n] for n in pieces if n % 2 == lane]
            left = [order[n] for n in due if n not in pieces and n % 2 == lane]
            if taken and left and max(taken) > min(left):
                raise Disagreement(f"claim took {max(taken)} before {min(left)}")
        for lease in claimed:
            row = self.rows[PLACE[lease["work_id"]]]
            row.losses += row.holder is not None
            row.holder, row.epoch, row.ready_at = worker, row.epoch + 1, self.now + LEASE
            expired = row.deadline is not None and row.deadline < self.now
            said = lease["epoch"], lease["failures"], lease["losses"], lease["expired"]
            self._same("claim says", said, (row.epoch, row.failures, row.losses, expired))
            self.memory[worker].append((PLACE[lease["work_id"]], row.epoch))
        return claimed

    async def claim(self, _: int, worker: str, number: int) -> None:
        await self.claim_some(worker, 1 + number % 4)

    async def renew(self, _: int, worker: str, __: int) -> None:
        mine = self.memory[worker]
        rows = leases.queries.renew(
            self.connection,
            ids=[WORK[n] for n, _ in mine],
            asked=[ASKED] * len(mine),
            epochs=[e for _, e in mine],
            holder=worker,
            lease=LEASE,
        )
        kept = {PLACE[row["work_id"]] async for row in rows}
        held = {n for n, epoch in mine if self._holds(worker, n, epoch)}
        self._same(f"{worker} keeps", kept, held)
        for n in held:
            self.rows[n].ready_at = self.now + LEASE

    async def settle(self, piece: int, worker: str, number: int) -> None:
        if not self.memory[worker]:
            return
        lease = self.memory[worker].pop(piece % len(self.memory[worker]))
        delay = None if number < 4 else float(number % 4 * 10)
        await self._settle(
            worker, [lease], outcome="done" if delay is None else "again", delay=delay, failed=number % 2
        )

    async def release(self, _: int, worker: str, __: int) -> None:
        mine, self.memory[worker] = self.memory[worker], []
        await self._settle(worker, mine, outcome="released", delay=0.0, failed=0)

    async def _settle(
        self, worker: str, mine: Sequence[tuple[int, int]], *, outcome: str, delay: float | None, failed: int
    ) -> None:
        many = len(mine)
        rows = leases.queries.settle(
            self.connection,
            ids=[WORK[n] for n, _ in mine],
            asked=[ASKED] * many,
            epochs=[epoch for _, epoch in mine],
            holder=worker,
            outcomes=[outcome] * many,
            details=[None] * many,
            delays=[delay] * many,
            failed=[failed] * many,
        )
        settled = {(PLACE[row["work_id"]], row["epoch"]) async for row in rows}
        held = {(n, epoch) for n, epoch in mine if self._holds(worker, n, epoch)}
        self._same(f"{worker} settles", settled, held)
        for n, _ in held:
            row = self.rows[n]
            row.holder, row.outcome, row.failures = None, outcome, row.failures + failed
            row.ready_at = None if delay is None else self.now + delay

    async def advance(self, _: int, __: str, number: int) -> None:
        self.now += (1, 5, 10, LEASE + 1)[number % 4]
        await self.set_clock()

    async def cancel(self, piece: int, _: str, number: int) -> None:
        job = JOBS[piece] if number % 2 else None
        asked = CancelRequested.of(
            cause_id="a program",
            occurred_at=datetime.fromtimestamp(BASE, UTC),
            workspace=WORKSPACE,
            request_id=REQUESTS[piece],
            job_id=job,
            by="ada",
        )
        await leases.bury(self.connection, [asked])
        self.tombstones.add((REQUESTS[piece], job))
        dropped = {PLACE[row["work_id"]] for row in await leases.drop_waiting(self.connection, [asked])}
        wanted = {n for n in self.rows if REQUESTS[n] == REQUESTS[piece] and job in {None, JOBS[n]}}
        waiting = {n for n in wanted if self.rows[n].holder is None and self.rows[n].ready_at is not None}
        self._same("cancel drops", dropped, waiting)
        for n in waiting:
            self.rows[n].ready_at, self.rows[n].outcome = None, "cancelled"

    async def brake(self, _: int, __: str, number: int) -> None:
        if number % 2:
            await leases.brake(self.connection, kind="lane", name="bulk", mode="pause", by="otto", reason=None)
        else:
            released = await leases.release_brake(self.connection, kind="lane", name="bulk", by="otto")
            self._same("there was a brake", released, self.braked)
        self.braked = bool(number % 2)

    async def look(self, _: int, worker: str, __: int) -> None:
        mine = {n for n, _ in self.memory[worker]}
        asked = [NewWork(work_id=WORK[n], kind="make", workspace=WORKSPACE, payload="{}", request_id=REQUESTS[n],
                         job_id=JOBS[n]) for n in mine]  # fmt: skip
        buried = await leases.buried(self.connection, asked)
        self._same("cancelled are", set(buried), {JOBS[n] for n in mine if self._is_cancelled(n)})

    # -- what must hold

    async def compare(self) -> None:
        """Every row is as the model has it; what is finished may have been put away."""
        found = {PLACE[row["work_id"]]: tuple(row.values())[1:] for row in await self.connection.fetch(ROWS)}
        wanted = {n: row.seen for n, row in self.rows.items() if n in found or row.ready_at is not None}
        self._same("rows", found, wanted)

    async def all_ends(self) -> None:
        """Without brakes, and with a worker that claims and settles, everything ends within so many leases."""
        if self.braked:
            await self.brake(0, "", 0)
        for _ in range(PIECES + 1):
            self.now += LEASE + 10
            await self.set_clock()
            claimed = await self.claim_some("worker 0", PIECES)
            mine, self.memory["worker 0"] = self.memory["worker 0"], []
            await self._settle("worker 0", mine, outcome="done", delay=None, failed=0)
            if not claimed:
                break
        await self.compare()
        self._same("unfinished", {n for n, row in self.rows.items() if row.ready_at is not None}, set())

    def _is_due(self, piece: int, row: Row) -> bool:
        return row.ready_at is not None and row.ready_at <= self.now and not self._is_braked(piece)

    def _is_braked(self, piece: int) -> bool:
        return self.braked and LANES[piece % 2] == "bulk"

    def _is_cancelled(self, piece: int) -> bool:
        return bool(self.tombstones & {(REQUESTS[piece], None), (REQUESTS[piece], JOBS[piece])})

    def _holds(self, worker: str, piece: int, epoch: int) -> bool:
        row = self.rows[piece]
        return row.holder == worker and row.epoch == epoch

    async def set_clock(self) -> None:
        await self.connection.execute("select set_config('virtual.now', $1, true)", str(BASE + self.now))

    def _same(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise Disagreement(f"{what}: {found} and not {wanted}")


class Programs(RuleBasedStateMachine):
    """Machines that Hypothesis works: `on` gives them a connection and says how they claim."""

    runner: asyncio.Runner
    connection: Any
    way: Claim
    steps = 0  # of all programs

    @classmethod
    def on(cls, runner: asyncio.Runner, connection: Any, way: Claim) -> "type[Programs]":
        return type(cls.__name__, (cls,), {"runner": runner, "connection": connection, "way": way})

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(self.connection, self.way)
        self.transaction = self.connection.transaction()
        self.place = 0
        self.went_well = True
        self._do(self.transaction.start())
        self._do(self.machine.set_clock())

    @rule(
        name=st.sampled_from(STEPS),
        piece=st.integers(0, PIECES - 1),
        worker=st.integers(0, WORKERS - 1),
        number=st.integers(0, 11),
    )
    def step(self, name: str, piece: int, worker: int, number: int) -> None:
        """One step, with three small numbers that it reads as it likes."""
        self.went_well = False
        self._do(getattr(self.machine, name)(piece, f"worker {worker}", number))
        type(self).steps += 1
        self.place += 1
        if self.place % LOOK_EVERY == 0:
            self._do(self.machine.compare())
        self.went_well = True

    def teardown(self) -> None:
        """After a step that failed too: then there is nothing to compare, and no other error to be told."""
        try:
            if self.went_well:
                self._do(self.machine.compare())
                self._do(self.machine.all_ends())
        finally:
            self._do(self.transaction.rollback())

    def _do(self, work: Awaitable[None]) -> None:
        async def done() -> None:
            await work

        self.runner.run(done())


@contextmanager
def on_virtual_time(url: str) -> Iterator[tuple[asyncio.Runner, Any]]:
    """A connection as the stage's role, for which it is whatever time it says; and the loop that it lives on."""

    async def connected() -> Any:
        connection = await asyncpg.connect(url)
        await connection.execute(CLOCK)
        # With pg_catalog named last, and not searched first as it is unasked.
        await connection.execute(f"set role {role_of(STAGE)}; set search_path = virtual, {STAGE}, pg_catalog")
        return connection

    with asyncio.Runner() as runner:
        connection = runner.run(connected())
        try:
            yield runner, connection
        finally:
            runner.run(connection.close())
