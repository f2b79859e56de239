"""One run: load and faults together, calm, drain, replay, oracle, report."""

import asyncio
import contextlib
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka.errors import KafkaError

from deploy.local.processes import last_lines
from deploy.local.supervisor import STAGES
from shared.crash import POINTS
from tests.faults.aims import unmet
from tests.faults.arms import CRASHED, Arms
from tests.faults.drained import under_way
from tests.faults.figures import quantiles
from tests.faults.injector import Injector
from tests.faults.kind import Kind, NotHere
from tests.faults.kinds.records import replayed
from tests.faults.measured import measured
from tests.faults.memory import Memory, drifts
from tests.faults.oracle.world import World as OracleWorld
from tests.faults.quiet import moving, until_quiet
from tests.faults.registry import kinds_for, missing_here
from tests.faults.scale import Scale
from tests.faults.schedule import schedule
from tests.faults.world import World, open_world

DRAINED_WITHIN = 120.0  # seconds of calm without any progress; what is left then is stuck
PROGRESS_EVERY = 10.0
SHOWN_WITHIN = 2.0  # seconds until a service has written what its tasks wait for


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one run is told."""

    seed: int
    requests: int
    faults: int
    scale: Scale = field(default_factory=Scale)
    seconds: float  # how long the load is spread over
    gap: float | None = None  # seconds between two planned faults on average; no more come once the load's time is over
    out: Path
    only: tuple[str, ...] = ()  # kinds of faults, CRASHED among them; without any all of them
    mutant: str = ""
    met_before: dict[str, int] = field(default_factory=dict)  # stage.point → ends there in earlier runs

    def kinds(self) -> list[Kind]:
        return [kind for kind in kinds_for(self.scale, self.seconds) if not self.only or kind.name in self.only]


@dataclass(eq=False)
class Run:
    """Builds up the report as it goes."""

    asked: Asked
    world: World
    say: Callable[[str], None]
    is_calm: bool = False
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    watched: float = 0.0  # seconds that memory was looked at
    not_here: list[NotHere] = field(default_factory=list)

    async def whole(self) -> dict[str, Any]:
        began = time.monotonic()
        injector = await self._under_faults()
        calm = time.monotonic()
        await self._drained()
        drained = time.monotonic()
        await self._replayed()
        oracle = await self._oracle()
        crashes = self.world.crashes()
        verdict: dict[str, Any] = {
            "asked": asdict(self.asked) | {"out": str(self.asked.out)},
            "requests": self._accepted(),
            "faults": injector.effective.total() + len(crashes),
            "by_kind": dict(injector.effective) | {CRASHED: len(crashes)},
            "without_effect": dict(injector.without_effect),
            "not_run": {kind.name: kind.why for kind in self.not_here},
            "harness_failed": injector.failed,
            "crash_points": self._coverage(crashes),
            "seconds": {"load": calm - began, "drain": drained - calm, "checks": time.monotonic() - drained},
            "violations": [*self.world.violations, *injector.failed, *oracle.get("violations", [])],
            "oracle": oracle,
        }
        figures: dict[str, Any] = {"memory": self.memory, "sigterm_seconds": quantiles(self.world.stop_seconds)}
        try:
            figures |= await measured(self.world, injector)
        except Exception as error:  # noqa: BLE001  # a figure that cannot be had must not take the verdict with it
            verdict["violations"].append(f"the harness could not measure: {error!r}")
        held_to = {"recovery": self.asked.scale.recovery, "load": self.watched}
        for aim in unmet(figures, only=self.asked.only, **held_to):
            if aim.is_known:
                verdict["violations"].append(aim.what)
            else:
                self.say(f"NOT JUDGED: {aim.what}")
        return verdict | figures

    # -- load and faults

    async def _under_faults(self) -> Injector:
        kinds = self.asked.kinds()
        self.not_here = missing_here(self.world, kinds)
        for missing in self.not_here:
            self.say(f"NOT RUN {missing.name}: {missing.why}")
        # Dealt with all there are, so that a seed's order is the same on every machine.
        gap = self.asked.gap or self.asked.seconds / max(1, self.asked.faults)
        plan = schedule(self.asked.seed, kinds, scale=self.asked.scale, gap=gap)
        over = time.monotonic() + self.asked.seconds if self.asked.gap else math.inf
        injector = Injector(
            self.world,
            [kind for kind in kinds if kind.name not in {missing.name for missing in self.not_here}],
            plan,
            enough=lambda planned: time.monotonic() > over or planned + len(self.world.crashes()) >= self.asked.faults,
        )
        memory = Memory(self.world)
        watching = asyncio.create_task(memory.watch())
        load = await self._start_load()
        telling = asyncio.create_task(self._tell(injector))
        try:
            self.world.arms = Arms(self.asked.seed, often=CRASHED in self.asked.only, before=self.asked.met_before)
            self.world.arming = self.asked.faults > 0 and (not self.asked.only or CRASHED in self.asked.only)
            if self.asked.faults:
                await injector.run()
            self.world.arming = False
            watching.cancel()
            self.memory = drifts(memory.samples)
            self.watched = memory.samples[-1][0] - memory.samples[0][0] if memory.samples else 0.0
            self.is_calm = True
            self.say("calm: every fault is over")
            try:
                await self.world.all_ready()
            except TimeoutError:
                late = sorted(name for name, member in self.world.members.items() if not member.is_ready)
                self.world.violations.append(f"not ready: {', '.join(late)}")
            await self._load_ends(load)
        finally:
            watching.cancel()
            telling.cancel()
            if load.returncode is None:
                load.kill()
        return injector

    async def _start_load(self) -> asyncio.subprocess.Process:
        rate = self.asked.requests / self.asked.seconds
        log = (self.world.logs / "load.log").open("ab")
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.load", str(self.world.world_file),
            "--requests", str(self.asked.requests), "--seed", str(self.asked.seed), "--rate", str(rate),
            "--within", str(DRAINED_WITHIN), "--until-told",
            stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip

    async def _load_ends(self, load: asyncio.subprocess.Process) -> None:
        """Everything is asked; then whoever sent it cleans up, as people do when it is calm again.

        Each of its steps gives up by itself where nothing becomes less.
        """
        assert load.stdin is not None
        load.stdin.write(b"calm\n")
        try:
            status = await asyncio.wait_for(load.wait(), self.asked.seconds + 20 * DRAINED_WITHIN)
        except TimeoutError:
            self.world.violations.append("the load did not come to its end")
            return
        if status:
            told = last_lines(self.world.logs / "load.log")
            self.world.violations.append(f"the load ended with status {status}: {told}")

    async def _tell(self, injector: Injector) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_EVERY)
            if self.is_calm:
                self.say(f"{time.monotonic() - began:4.0f} s: {await self._moving()}")
                continue
            down = [name for name, member in self.world.members.items() if not member.is_ready]
            struck = injector.effective.total() + len(self.world.crashes())
            self.say(
                f"{time.monotonic() - began:4.0f} s: {self._accepted()} requests, {struck} faults, "
                f"{injector.under_way} under way" + (f", down: {', '.join(sorted(down))}" if down else "")
            )

    async def _moving(self) -> str:
        try:
            left = await moving(OracleWorld.read(self.world.world_file))
        except (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return repr(error)
        return ", ".join(f"{name} {many}" for name, many in left.items()) or "nothing moves"

    def _accepted(self) -> int:
        ledger = self.world.ledgers / "accepted.jsonl"
        return ledger.read_bytes().count(b"\n") if ledger.exists() else 0

    # -- afterwards

    async def _drained(self) -> None:
        left = await until_quiet(OracleWorld.read(self.world.world_file), within=DRAINED_WITHIN)
        if not left:
            self.say("drained")
            return
        told = [f"{name} {many}" for name, many in left.items()]
        told += [f"{where}: {one}" for where, what in (await under_way(self.world)).items() for one in what]
        await self._show_tasks()
        for line in told:
            self.say(f"stuck: {line}")
        self.world.violations.append(f"not drained: {'; '.join(told)}")

    async def _show_tasks(self) -> None:
        """For whoever has to find out why something stands still: it is in the services' logs."""
        for member in self.world.members.values():
            member.show_tasks()
        await asyncio.sleep(SHOWN_WITHIN)

    async def _replayed(self) -> None:
        """Every group reads every topic again, and nothing may change."""
        await self._examined("--keep", str(self._before))
        if not self._before.exists():
            self.world.violations.append("the rows before everything was heard again were not kept; see oracle.log")
        members = list(self.world.members.values())
        await asyncio.gather(*(self.world.ends_when_asked(member, for_good=True) for member in members))
        again = sum([await replayed(self.world, stage) for stage in STAGES])
        for member in members:
            member.keep()
        await self.world.all_ready()
        if not again:
            self.world.violations.append("nothing was there to be heard again")
        self.say(f"replaying {again} records")
        await self._drained()

    async def _oracle(self) -> dict[str, Any]:
        """What became of every promise, and of every row since the topics were read again."""
        before = ["--same-as", str(self._before)] if self._before.exists() else []
        said = await self._examined("--json", "--rebuild", *before)
        if not said:
            return {"violations": ["the oracle said nothing; see its log"]}
        told: dict[str, Any] = json.loads(said)
        return told | {"violations": told["lines"]}

    @property
    def _before(self) -> Path:
        return self.asked.out / "rows.json"

    async def _examined(self, *arguments: str) -> bytes:
        """The oracle is a program of its own, that imports nothing of ours."""
        command = [sys.executable, "-m", "tests.faults.oracle", str(self.world.world_file), *arguments]
        with (self.asked.out / "oracle.log").open("ab") as log:  # not among the logs that it searches
            oracle = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log)
            said, _ = await oracle.communicate()
        return said

    # -- figures

    def _coverage(self, crashes: list[tuple[float, str, str]]) -> dict[str, int]:
        """Stage.point → how often a process ended there; those that never did stand as 0."""
        met = Counter(f"{stage}.{point}" for _, stage, point in crashes)
        return {f"{stage}.{point}": met[f"{stage}.{point}"] for point in POINTS for stage in sorted(POINTS[point])}


async def run(asked: Asked, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Opens a world, runs, closes it; the report stands in `asked.out` too."""
    began = time.monotonic()
    given = {"CALOTYPE_MUTANT": asked.mutant} if asked.mutant else {}
    async with open_world(asked.out, seed=asked.seed, scale=asked.scale, requests=asked.requests, **given) as world:
        say(f"world ready in {time.monotonic() - began:.0f} s, everything of it in {asked.out}")
        report = await Run(asked, world, say).whole()
    with contextlib.suppress(OSError):
        (asked.out / "report.json").write_text(json.dumps(report, indent=1))
    return report


def last_line(report: dict[str, Any]) -> dict[str, Any]:
    """What a run comes to."""
    oracle = report["oracle"]
    return {
        "requests": report["requests"],
        "faults": report["faults"],
        "lost": oracle.get("lost"),
        "doubled": oracle.get("doubled"),
        "violations": len(report["violations"]),
        "uncertain": oracle.get("uncertain"),
    }
