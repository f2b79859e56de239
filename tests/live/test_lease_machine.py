"""Any steps of workers, operators and time over the lease SQL, on a virtual clock; CALOTYPE_LEASE_STEPS: how many."""

import asyncio
import os
from pathlib import Path
from typing import Any

import aiosql
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from deploy.local.servers import EmbeddedServers
from services.inference.flows import Line
from shared import leases
from tests.live.lease_machine import LEASE, Claim, Disagreement, Programs, Row, on_virtual_time
from tests.live.stage import new_database

STEPS = int(os.environ.get("CALOTYPE_LEASE_STEPS", "20000"))
SEED = int(os.environ.get("CALOTYPE_SEED", "4"))
LENGTH = 50
TEXT = (Path(leases.__file__).parent / "sql/leases.sql").read_text()


async def take_plainly(connection: Any, worker: str, many: int) -> list[Any]:
    rows = leases.queries.claim(connection, kinds=["make"], after=None, many=many, holder=worker, lease=LEASE)
    return [row async for row in rows]


async def take_in_turns(connection: Any, worker: str, many: int) -> list[Any]:
    """As inference claims, without a memory: real time hardly passes between two steps."""
    line = Line(["make"], shares={"standard": 3, "bulk": 1})
    return await line.take(connection, many, holder=worker, lease=LEASE)


def by_priority(row: Row, _: float) -> tuple[float, ...]:
    return -row.priority, row.ready_at or 0.0


def by_turns(row: Row, now: float) -> tuple[float, ...]:
    """What is out of time first, by its deadline; all is queued within ten minutes, so priority goes before age."""
    if row.deadline is not None and row.deadline < now:
        return 0.0, row.deadline
    return 1.0, -row.priority, row.number


PLAINLY, IN_TURNS = Claim(take_plainly, by_priority), Claim(take_in_turns, by_turns)


def tried(programs: int, **more: Any) -> settings:
    """A program that fails is printed, and as a blob that brings it back; a deadline would be about this machine."""
    return settings(
        max_examples=programs,
        stateful_step_count=LENGTH,
        database=None,
        print_blob=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", [PLAINLY, IN_TURNS], ids=["plainly", "in turns"])
def test_any_steps_leave_every_lease_as_the_model_has_it(servers: EmbeddedServers, way: Claim) -> None:
    half = STEPS // 2
    with on_virtual_time(asyncio.run(new_database(servers))) as (runner, connection):
        programs = Programs.on(runner, connection, way)
        run_state_machine_as_test(seed(SEED)(programs), settings=tried(half // LENGTH))
    assert programs.steps >= 0.95 * half


DEFECTS = {
    "a settlement is not fenced": (
        "w.work_id = s.work_id and w.epoch = s.epoch and w.holder = :holder",
        "w.work_id = s.work_id and (w.holder = :holder or true)",
    ),
    "a settlement is fenced by the holder alone": (
        "w.work_id = s.work_id and w.epoch = s.epoch and w.holder = :holder",
        "w.work_id = s.work_id and w.holder = :holder",
    ),
    "a heartbeat takes a lease back": (
        "w.work_id = mine.work_id and w.epoch = mine.epoch and w.holder = :holder",
        "w.work_id = mine.work_id and (w.holder = :holder or w.ready_at is not null)",
    ),
    "a loss is not counted": ("losses = w.losses + (w.holder is not null)::int", "losses = w.losses"),
    "a loss counts as a failure": (
        "losses = w.losses + (w.holder is not null)::int",
        "failures = w.failures + (w.holder is not null)::int",
    ),
    "a release counts as a failure": ("failures = w.failures + s.failed", "failures = w.failures + 1"),
    "an epoch is used again": ("holder = :holder, epoch = w.epoch + 1", "holder = :holder, epoch = 1"),
    "a cancel ends what is held": ("and w.ready_at is not null and w.holder is null", "and w.ready_at is not null"),
    "enqueued again, work is new": (
        "on conflict (work_id, asked_at) do nothing",
        "on conflict (work_id, asked_at) do update set ready_at = excluded.ready_at, epoch = 0, holder = null",
    ),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_of_the_leases_is_found(
    servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    right, wrong = DEFECTS[defect]
    assert right in TEXT, "the SQL has changed: say the defect anew"
    monkeypatch.setattr(leases, "queries", aiosql.from_str(TEXT.replace(right, wrong), "asyncpg"))
    with on_virtual_time(database(servers)) as (runner, connection):
        programs = seed(SEED)(Programs.on(runner, connection, PLAINLY))
        with pytest.raises(Disagreement):
            run_state_machine_as_test(programs, settings=tried(200, phases=[Phase.generate]))


_database: list[str] = []


def database(servers: EmbeddedServers) -> str:
    """One for all defects: every program is rolled back."""
    if not _database:
        _database.append(asyncio.run(new_database(servers)))
    return _database[0]
