"""Somebody who has images made again, whatever that costs, and now and then wants one no more."""

import asyncio
import random

import httpx

from tests.faults.load.ledgers import Ledgers
from tests.faults.load.people import Person

LOOK_AT = 200
PAUSE = 0.5, 3.0  # seconds between two
CANCELLED, WITHIN = 0.15, 2.0  # how many of them, and after how many seconds at most


class Replayer:
    """Asks until cancelled."""

    def __init__(self, person: Person, ledgers: Ledgers, *, seed: int) -> None:
        self._person = person
        self._ledgers = ledgers
        self._rng = random.Random(f"replayer {seed}")

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(*PAUSE))
            assets = (await self._person.json("GET", "/v1/assets", params={"limit": LOOK_AT}))["assets"]
            replay = await self.again(self._rng.choice(assets)["asset_id"]) if assets else None
            if replay is not None and self._rng.random() < CANCELLED:
                await self._cancel(replay)

    async def again(self, asset: str) -> str | None:
        """The replay's id; None where its manifest is not known yet, or it was refused, which is a complaint."""
        manifest = (await self._person.json("GET", f"/v1/assets/{asset}")).get("manifest")
        if manifest is None:
            return None
        body = {"asset_id": asset, "manifest_sha256": manifest["sha256"], "pay": True}
        answer = await self._person.call("POST", "/v1/replays", json=body)
        if not answer.is_success:
            self._complain("a replay was refused", asset, answer)
            return None
        replay = str(answer.json()["replay_id"])
        self._ledgers.write("replays", workspace=self._person.workspace, asset_id=asset, replay_id=replay)
        return replay

    async def _cancel(self, replay: str) -> None:
        await asyncio.sleep(self._rng.uniform(0, WITHIN))
        answer = await self._person.call("POST", f"/v1/replays/{replay}/cancel")
        if not answer.is_success and answer.status_code != 409:
            self._complain("a replay could not be cancelled", replay, answer)

    def _complain(self, what: str, key: str, answer: httpx.Response) -> None:
        got = f"{answer.status_code} {answer.text[:500]}"
        self._ledgers.write(
            "complaints", what=what, workspace=self._person.workspace, key=key, wanted="a success", got=got
        )
