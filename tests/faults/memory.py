"""Resident memory of every process, looked at again and again, and by how much it drifted over a run."""

import asyncio
import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from tests.faults.world import World

LOOK_EVERY = 10.0  # seconds
# Shares of the run that are compared: caches are warm by the first, and the load still lasts in the second.
EARLY, LATE = (0.2, 0.4), (0.8, 1.0)
MEGABYTE = 1_000_000

Sample = tuple[float, Mapping[str, int]]  # when, and name → bytes


@dataclass(eq=False)
class Memory:
    """`watch` until cancelled; then `drifts`."""

    world: World
    samples: list[Sample] = field(default_factory=list)

    async def watch(self) -> None:
        while True:
            self.samples.append((time.monotonic(), self._look()))
            await asyncio.sleep(LOOK_EVERY)

    def _look(self) -> dict[str, int]:
        pids = {name: member.pid for name, member in self.world.members.items() if member.is_ready}
        for name, keeper in self.world.servers._keepers.items():
            if keeper._child is not None:
                pids[name] = keeper._child.pid
        found = {name: resident(pid) for name, pid in pids.items() if pid is not None}
        return {name: size for name, size in found.items() if size}


def resident(pid: int) -> int:
    """Bytes of a process and of those it started; of pages that several share each has all. 0 once it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        total = 0
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
        return total
    return 0


def drifts(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Name → megabytes early and late in the run, on average, and the drift as a share of the former."""
    if len(samples) < 2:
        return {}
    began, ended = samples[0][0], samples[-1][0]
    early: dict[str, list[int]] = defaultdict(list)
    late: dict[str, list[int]] = defaultdict(list)
    for at, sizes in samples:
        share = (at - began) / (ended - began)
        for (first, last), into in ((EARLY, early), (LATE, late)):
            if first <= share <= last:
                for name, size in sizes.items():
                    into[name].append(size)
    return {name: _drift(early[name], late[name]) for name in sorted(early) if late[name]}


def _drift(early: Sequence[int], late: Sequence[int]) -> dict[str, float]:
    before, after = statistics.mean(early), statistics.mean(late)
    return {
        "early_mb": round(before / MEGABYTE, 1),
        "late_mb": round(after / MEGABYTE, 1),
        "drift": round(after / before - 1, 4),
    }
