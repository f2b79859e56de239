"""Strikes what the schedule says when it says so, and writes down what became of each fault."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.figures import Span
from tests.faults.kind import Kind
from tests.faults.schedule import Planned
from tests.faults.world import World

LATE = 10.0  # seconds that a fault waits for what it strikes to be whole again; then it is left out, and counted so


@dataclass(eq=False)
class Injector:
    """`enough` ends the dealing; what has struck by then runs to its end. `kinds`: what can be done here."""

    world: World
    kinds: Sequence[Kind]
    plan: Iterator[Planned]
    enough: Callable[[int], bool]
    effective: Counter[str] = field(default_factory=Counter)
    without_effect: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    outages: list[tuple[Planned, Span]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_name = {kind.name: kind for kind in self.kinds}
        self._striking: set[asyncio.Task[None]] = set()
        self._settling = 0
        self._ledger = (self.world.ledgers / "faults.jsonl").open("a")

    @property
    def under_way(self) -> int:
        return len(self._striking) - self._settling

    async def run(self) -> None:
        """Returns when enough took effect and all of it is over."""
        began = time.monotonic()
        late = 0.0  # a pause for faults that are still under way moves the rest of the plan
        for planned in self.plan:
            while self.enough(self.effective.total() + self.under_way):
                if not self._striking:
                    self._ledger.close()
                    return
                waited = time.monotonic()
                await asyncio.wait(self._striking, return_when=asyncio.FIRST_COMPLETED)
                late += time.monotonic() - waited
            await asyncio.sleep(max(0.0, began + late + planned.at - time.monotonic()))
            task = asyncio.create_task(self._strike(planned), name=f"fault-{planned.number}-{planned.kind}")
            self._striking.add(task)
            task.add_done_callback(self._striking.discard)

    async def _strike(self, planned: Planned) -> None:
        kind = self._by_name.get(planned.kind)
        if kind is None:
            self.without_effect["not here"] += 1
            return
        async with contextlib.AsyncExitStack() as held:
            try:
                async with asyncio.timeout(LATE):
                    await held.enter_async_context(self.world.alone_in(*planned.rooms))
            except TimeoutError:
                self.without_effect["late"] += 1
                return
            began = time.time()
            try:
                effect = await kind.strike(self.world, planned)
            except Exception as error:  # noqa: BLE001  # the harness's own trouble must not pass for a quiet run
                self.failed.append(f"{planned.kind} {dict(planned.parameters)}: {error!r}")
                self._note(planned, began, effect=None, error=repr(error))
                return
            (self.effective if effect else self.without_effect)[planned.kind] += 1
            self.outages.append((planned, Span(began, time.time())))
            self._note(planned, began, effect=effect)
            # Nothing is struck again before it has done anything: that would only be a longer outage.
            self._settling += 1
            await asyncio.sleep(kind.settles)
            self._settling -= 1

    def _note(self, planned: Planned, began: float, **more: Any) -> None:
        line = {
            "number": planned.number,
            "kind": planned.kind,
            "seed": self.world.seed,
            "parameters": dict(planned.parameters),
            "planned_at": planned.at,
            "seconds": planned.seconds,
            "began": round(began, 3),
            "ended": round(time.time(), 3),
            **more,
        }
        self._ledger.write(json.dumps(line) + "\n")
        self._ledger.flush()
