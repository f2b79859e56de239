"""What providers and publishing targets do: their scripts are changed for a while."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.faults.providers import PROVIDERS
from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World

OK = 20  # weight of a good answer beside what the fault brings
CLOUD: Mapping[str, dict[str, float]] = {
    "429": {"429": 60},
    "429_retry_after": {"429_retry_after": 60},
    "500": {"500": 40, "503": 20},
    "hang": {"hang": 15},
    "charge_then_hang": {"charge_then_hang": 15},
    "charge_then_reset": {"charge_then_reset": 15, "charge_then_502": 10},
    "malformed": {"malformed": 30},
    "empty": {"empty": 30},
    "wrong_image": {"wrong_image": 30, "not_an_image": 10, "cut_image": 10},
    "moderation": {"moderation": 20, "content_policy": 10, "moderation_200": 10, "moderation_made": 10, "nsfw": 10},
    "unfinished": {"failed": 10, "failed_before": 10, "canceled": 10, "aborted": 10},
    "down": {"503": 1000},
}
TARGETS: Mapping[str, dict[str, Any]] = {
    "down": {"down": True},
    "down_an_hour": {"down": True},
    "hangs": {"down": "hang"},
    "409": {"weights": {"ok": OK, "409": 30}},
    "slow": {"weights": {"ok": OK, "slow": 60}},
    "reply_lost": {"weights": {"ok": OK, "reply_lost": 40}},
    "500": {"weights": {"ok": OK, "500": 40, "500_taken": 20, "503": 10, "429": 10}},
}
DOWN = 160.0  # 24 s at the usual scale
# A target that is away for minutes, 18 s at the usual scale; for an hour it is in runs that are long enough for one.
AWAY, HOUR = 120.0, 3600.0


@dataclass(frozen=True, slots=True)
class Cloud:
    what: str
    weight: int = 1
    settles: float = 0.0

    @property
    def name(self) -> str:
        return f"cloud.{self.what}"

    def draw(self, random: Random) -> Drawn:
        name = random.choice([name for name in PROVIDERS if self._weights(name)])
        # Away for so long that its work goes elsewhere: that begins after fifteen seconds, whatever the scale.
        seconds = DOWN if self.what == "down" else random.choice([15.0, 45.0])
        return Drawn(seconds=seconds, rooms=frozenset({f"provider {name}"}), parameters={"provider": name})

    async def strike(self, world: World, fault: Planned) -> bool:
        name = fault.parameters["provider"]
        usual = world.usual_scripts[name]
        changed = {**usual, "weights": {"ok": OK} | self._weights(name)}
        return await struck(world, name, changed, usual, seconds=fault.seconds)

    def _weights(self, name: str) -> dict[str, float]:
        """As far as this provider has such answers."""
        choices = PROVIDERS[name].server.choices()
        return {choice: weight for choice, weight in CLOUD[self.what].items() if choice in choices}


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    weight: int = 1
    settles: float = 0.0

    @property
    def name(self) -> str:
        return f"target.{self.what}"

    def draw(self, random: Random) -> Drawn:
        match self.what:
            case "down_an_hour":
                seconds = HOUR
            case "down" | "hangs":
                seconds = AWAY
            case _:
                seconds = random.choice([20.0, 60.0])
        return Drawn(seconds=seconds, rooms=frozenset({"target"}))

    async def strike(self, world: World, fault: Planned) -> bool:
        usual = world.usual_scripts["receiver"]
        return await struck(world, "receiver", {**usual, **TARGETS[self.what]}, usual, seconds=fault.seconds)


async def struck(world: World, server: str, changed: Any, usual: Any, *, seconds: float) -> bool:
    """Whether anybody was answered as the changed script says and not as usual."""
    before = len(world.answers(server))
    await world.script(server, changed)
    try:
        await asyncio.sleep(seconds)
    finally:
        await world.script(server, usual)
    return world.has_struck(server, since=before)
