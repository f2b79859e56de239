"""Somebody who mends a recipe while it is in use and has it run again over what is approved, or the one before it."""

import asyncio
import random
from typing import Any

import httpx

from tests.faults.load.ledgers import Ledgers
from tests.faults.load.library import RECIPE, SIDES, STAMP, recipe
from tests.faults.load.people import Person

LOOK_AT = 100
PUBLISHED_AFTER = 5.0, 15.0  # seconds
KNOWN_EVERY = 0.5
PAUSE = 1.5, 4.0  # seconds between two asks
AT_ONCE = 3
STAMPS, TWICE = 0.25, 0.2  # how many asks are of those that were compared, and how many are sent twice at once


class Rerunner:
    """Asks until cancelled."""

    def __init__(self, person: Person, ledgers: Ledgers, *, seed: int) -> None:
        self._person = person
        self._ledgers = ledgers
        self._rng = random.Random(f"rerunner {seed}")

    async def run(self) -> None:
        await asyncio.sleep(self._rng.uniform(*PUBLISHED_AFTER))
        await self.publish()
        while True:
            await asyncio.sleep(self._rng.uniform(*PAUSE))
            if assets := await self._some():
                await self.again(assets, version=self._rng.choice(list(SIDES)), twice=self._rng.random() < TWICE)

    async def publish(self) -> None:
        """The newest version of the recipe; returns when it can be asked for."""
        newest = max(SIDES)
        await self._person.json("POST", "/v1/library", json={"documents": [recipe(version=newest)]})
        body = {"recipes": [f"{RECIPE}@{newest}"], "every": True, "dry_run": True, "limit": 1}
        while not (await self._person.call("POST", "/v1/assets/rerun", json=body)).is_success:
            await asyncio.sleep(KNOWN_EVERY)

    async def again(self, assets: list[str], *, version: int, twice: bool = False) -> list[str]:
        """Those of the assets that were promised a new version; why not the others stands in the ledger."""
        label = f"{RECIPE}@{version}"
        how: dict[str, Any] = {"json": {"recipes": [label], "where": {"assets": assets}}}
        asking = (self._person.call("POST", "/v1/assets/rerun", **how) for _ in range(1 + twice))
        promised: list[str] = []
        for answer in await asyncio.gather(*asking):
            if not answer.is_success:
                self._complain(assets, "a success", answer)
                continue
            told = answer.json()
            for one in told["requested"]:
                self._write(one, recipe=label, answered="requested")
                promised.append(one["asset_id"])
            for one in told["refused"]:
                self._write(one, recipe=label, answered="refused")
            if {one["asset_id"] for one in (*told["requested"], *told["refused"])} != set(assets):
                self._complain(assets, "a word on each", answer)
        return promised

    async def _some(self) -> list[str]:
        answer = await self._person.json("GET", "/v1/assets", params={"status": "approved", "limit": LOOK_AT})
        every = {asset["asset_id"]: asset["asset_type"] for asset in answer["assets"]}
        stamps = [asset for asset, kind in every.items() if kind == STAMP]
        some = stamps if stamps and self._rng.random() < STAMPS else list(every)
        return self._rng.sample(some, min(len(some), self._rng.randint(1, AT_ONCE)))

    def _write(self, said: dict[str, Any], **more: Any) -> None:
        self._ledgers.write("reruns", workspace=self._person.workspace, **said, **more)

    def _complain(self, assets: list[str], wanted: str, answer: httpx.Response) -> None:
        got = f"{answer.status_code} {answer.text[:500]}"
        about = {"workspace": self._person.workspace, "key": assets, "wanted": wanted, "got": got}
        self._ledgers.write("complaints", what="an answer to a recipe run again", **about)
