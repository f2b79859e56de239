"""The injector strikes as planned, waits for no one too long, and knows what had an effect."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.faults import injector
from tests.faults.injector import Injector
from tests.faults.scale import Scale
from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World


@dataclass
class Fake:
    """A kind of fault that does what the test says."""

    name: str
    act: Callable[[], object]
    weight: int = 1
    settles: float = 0.0
    struck: list[int] = field(default_factory=list)

    def draw(self, random: Random) -> Drawn:
        return Drawn(seconds=0.0, rooms=frozenset())

    async def strike(self, world: World, fault: Planned) -> bool:
        self.struck.append(fault.number)
        done = self.act()
        return bool(await done if asyncio.iscoroutine(done) else done)


def plan(kind: str, *, room: str | None = None) -> Iterator[Planned]:
    rooms = frozenset({room} if room else ())
    for number in count(1):
        yield Planned(number=number, at=0.001 * number, kind=kind, seconds=0.0, rooms=rooms, parameters={})


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "root", tmp_path / "out", seed=1, scale=Scale(), requests=1, environment={})
    made.ledgers.mkdir(parents=True)
    return made


async def test_faults_without_effect_do_not_count(world: World) -> None:
    effects = iter([True, False, True, False, True])
    kind = Fake("sometimes", lambda: next(effects))
    striking = Injector(world, [kind], plan("sometimes"), enough=lambda struck: struck >= 3)
    await striking.run()
    assert (striking.effective, striking.without_effect) == ({"sometimes": 3}, {"sometimes": 2})
    lines = [json.loads(line) for line in (world.ledgers / "faults.jsonl").read_text().splitlines()]
    assert [line["effect"] for line in lines] == [True, False, True, False, True]


async def test_a_fault_whose_place_is_taken_too_long_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injector, "LATE", 0.02)
    kind = Fake("long", lambda: asyncio.sleep(0.3, result=True))
    striking = Injector(world, [kind], plan("long", room="one"), enough=lambda struck: struck >= 2)
    await striking.run()
    assert striking.effective["long"] >= 1
    assert striking.without_effect["late"] >= 1


async def test_a_fault_that_fails_is_said_and_the_others_go_on(world: World) -> None:
    divisors = iter([0, 1])
    kind = Fake("broken", lambda: 1 / next(divisors))
    striking = Injector(world, [kind], plan("broken"), enough=lambda struck: struck >= 1)
    await striking.run()
    assert striking.effective == {"broken": 1}
    (told,) = striking.failed
    assert "ZeroDivisionError" in told
