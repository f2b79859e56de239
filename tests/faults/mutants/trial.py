"""One trial: fresh database, topics and processes on servers that stay, a short load, what is broken, the oracle."""

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.faults.arms import Arms
from tests.faults.kinds.records import replayed
from tests.faults.load.load import Load
from tests.faults.load.people import Person
from tests.faults.mutants.mutant import Scenario
from tests.faults.mutants.strikes import STRIKES
from tests.faults.oracle.evidence import Violation
from tests.faults.oracle.files import lines
from tests.faults.oracle.gathering import gather
from tests.faults.oracle.snapshot import differences, rebuilt, snapshot
from tests.faults.oracle.verdict import judge, uncertain
from tests.faults.oracle.world import World as Seen
from tests.faults.quiet import until_quiet
from tests.faults.scale import Scale
from tests.faults.store_link import Trouble
from tests.faults.world import World, built

QUIET_WITHIN = 300.0  # seconds after the last ask
STUCK = 30.0  # seconds without any progress
ASKED_WITHIN = 300.0
EXAMPLES = 3


class FirstStarts(Arms):
    """Arms what the scenario says at every service's first starts, and nothing later."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario.seed)
        self._scenario = scenario

    def next(self, member: str, *, stage: str, start: int, met: Mapping[str, int]) -> str:
        del member, stage, met
        return self._scenario.crash if start <= self._scenario.starts else ""


@dataclass(slots=True)
class Found:
    """What a trial came to."""

    by_invariant: Counter[str]
    examples: list[str]
    seconds: float
    crashes: int

    @property
    def caught(self) -> bool:
        return bool(self.by_invariant)


@dataclass(eq=False)
class Trial:
    """One scenario under one mutant, or under none."""

    world: World
    scenario: Scenario
    seen: Seen
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    is_quiet: bool = False
    people: list[Person] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What the trial itself saw."""

    # -- what strikes ask

    async def rows(self, question: str) -> list[Any]:
        connection = await asyncpg.connect(self.seen.database_url, timeout=10)
        try:
            return list(await connection.fetch(question))
        finally:
            await connection.close()

    async def count(self, question: str) -> int:
        (row,) = await self.rows(question)
        return int(row[0])

    def person(self, workspace: object) -> Person:
        return next(person for person in self.people if person.workspace == str(workspace))

    # -- the run

    async def run(self) -> list[Violation]:
        async with Load(
            self.seen, requests=self.scenario.requests, seed=self.scenario.seed, poison=self.scenario.poison
        ) as load:
            self.people = list(load._people.values())
            strikes = [asyncio.create_task(STRIKES[name](self), name=name) for name in self.scenario.strikes]
            await asyncio.sleep(0)  # what strikes at once does so before anything is asked
            await self._asked(load)
            await self._struck(strikes)
            if not await self._quiet():
                await load.clear(within=STUCK)
                await self._quiet()
        before = await snapshot(self.seen)
        for stage in self.scenario.replay:
            await self._replay(stage)
        found = await self._judged()
        if self.scenario.replay:
            found += differences(before, await snapshot(self.seen), what="hearing every topic again")
            found += await rebuilt(self.seen, lines(self.seen.ledgers / "workspaces.jsonl"))
        return found

    async def _asked(self, load: Load) -> None:
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                await load.run()
        except Exception as error:  # noqa: BLE001  # whatever a mutant does to those who ask
            self.broken.append(f"not everything could be asked: {error!r}")
        finally:
            self.asked.set()

    async def _struck(self, strikes: list[asyncio.Task[None]]) -> None:
        for strike, outcome in zip(strikes, await asyncio.gather(*strikes, return_exceptions=True), strict=True):
            if isinstance(outcome, BaseException):
                self.broken.append(f"{strike.get_name()}: {outcome!r}")

    async def _quiet(self) -> dict[str, int]:
        """What still moves after all this time, or moves no more and is not at rest."""
        await self.world.all_ready()
        left = await until_quiet(self.seen, within=STUCK, at_most=QUIET_WITHIN)
        self.is_quiet = not left
        return left

    async def _replay(self, stage: str) -> None:
        member = self.world.members[stage]
        await member.rest()
        await replayed(self.world, stage)
        member.keep()
        await member.ready()
        await self._quiet()

    async def _judged(self) -> list[Violation]:
        evidence = await gather(self.seen)
        found = judge(evidence)
        if self.scenario.aside:
            found = [one for one in found if not one.what.endswith(f"and {self.scenario.aside} set it aside")]
        settled = sum(1 for _ in evidence.all_of("AttemptSettled"))  # unknown once, until somebody said what it was
        if not self.scenario.uncertain and (many := uncertain(evidence) + settled):
            what = f"{many} outcomes are or were unknown, and nothing here made any so"
            found.append(Violation(invariant="I5", subject="uncertain", what=what))
        found += [Violation(invariant="rest", subject="the trial", what=what) for what in self.broken]
        found += [Violation(invariant="rest", subject="the harness", what=what) for what in self.world.violations]
        return found


@asynccontextmanager
async def open_arena(out: Path) -> AsyncIterator[World]:
    """Kafka, Postgres and the object store for any number of trials."""
    async with built(out, seed=1, scale=Scale(), requests=100, environment={}) as world:
        await world.open_servers()
        yield world


async def tried(arena: World, name: str, scenario: Scenario, *, out: Path, say: Callable[[str], None]) -> Found:
    """Runs one trial; `name` is the mutant's, or nothing."""
    began = time.monotonic()
    await _anew(arena, name, scenario, out=out)
    trial = Trial(arena, scenario, Seen.read(arena.world_file))
    try:
        await arena.all_ready()
        scripts = {"acme": scenario.provider, "receiver": scenario.receiver, **scenario.others}
        for server, script in scripts.items():
            if script:  # they have just been started, with their usual ones
                await arena.script(server, script)
        violations = await trial.run()
    except Exception as error:  # noqa: BLE001  # a mutant may break what a trial cannot do without
        violations = [Violation(invariant="rest", subject="the trial", what=repr(error)[:500])]
    finally:
        arena.store_link.trouble = Trouble()
        arena.postgres_link.delay = 0.0
        await arena.close_services()
    by_invariant = Counter(violation.invariant for violation in violations)
    examples = [f"{v.invariant}: {v.subject}: {v.what}" for v in violations[:EXAMPLES]]
    found = Found(by_invariant, examples, time.monotonic() - began, len(arena.crashes()))
    say(f"{name or 'control':36} {found.seconds:4.0f} s  {dict(by_invariant) or 'nothing'}")
    return found


async def _anew(arena: World, name: str, scenario: Scenario, *, out: Path) -> None:
    """Another database, other topics, empty folders; processes with the mutant in them."""
    await _empty_database(arena)
    for folder in arena.servers.data.published.iterdir():
        shutil.rmtree(folder, ignore_errors=True)
    arena.begin_anew(out, environment={"CALOTYPE_MUTANT": name} if name else {}, arms=FirstStarts(scenario))
    with contextlib.suppress(FileNotFoundError):
        arena.crash_log.unlink()
    await arena.open_services()


async def _empty_database(arena: World) -> None:
    postgres = arena.servers.postgres
    assert postgres is not None
    connection = await asyncpg.connect(arena.database_url.rsplit("/", 1)[0] + "/postgres", timeout=30)
    try:
        await connection.execute(f"drop database if exists {arena.database_url.rsplit('/', 1)[1]} with (force)")
    finally:
        await connection.close()
    await postgres.make_database()
