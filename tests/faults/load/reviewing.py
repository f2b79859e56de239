"""A person who decides on whatever waits: mostly yes, sometimes no, now and then taken back at once."""

import asyncio
import random
from typing import Any

from tests.faults.load.ledgers import Ledgers
from tests.faults.load.people import Person

AT_ONCE = 100
CODES = ("soft", "off_brief", "bad_crop", "other")


class Reviewer:
    """Looks again and again until cancelled."""

    def __init__(self, person: Person, ledgers: Ledgers, *, seed: int) -> None:
        self._person = person
        self._ledgers = ledgers
        self._rng = random.Random(f"reviewer {seed} {person.principal}")
        self.decided = 0

    async def run(self) -> None:
        while True:
            if not await self._look():
                await asyncio.sleep(self._rng.uniform(0.2, 0.6))

    async def _look(self) -> bool:
        waiting = [
            asset
            for asset in await self._person.every("/v1/assets", "assets", most=1000, status="completed", limit=200)
            if asset["decision"] is None and asset["review_version"] is not None
        ]
        for start in range(0, len(waiting), AT_ONCE):
            await self._decide(waiting[start : start + AT_ONCE])
        return bool(waiting)

    async def _decide(self, assets: list[dict[str, Any]]) -> None:
        verdicts = [self._verdict(asset) for asset in assets]
        how: dict[str, Any] = {"json": {"decisions": verdicts}}
        if self._rng.random() < 0.1:  # the same decisions twice at once, as two windows of one person would send them
            answers = await asyncio.gather(*(self._person.json("POST", "/v1/decisions", **how) for _ in range(2)))
        else:
            answers = [await self._person.json("POST", "/v1/decisions", **how)]
        said = {verdict["asset_id"]: verdict for verdict in verdicts}
        taken: dict[str, dict[str, Any]] = {}
        for answer in answers:
            for one in answer["decided"]:
                taken.setdefault(one["asset_id"], one)
            for one in answer["refused"]:
                self._write(said[one["asset_id"]], answered="refused", detail=one["detail"])
        for one in taken.values():
            self._write(said[one["asset_id"]], answered="taken", decision_id=one["decision_id"])
        self.decided += len(taken)
        for one in taken.values():
            if self._rng.random() < 0.04:
                await self._undo(one)

    def _verdict(self, asset: dict[str, Any]) -> dict[str, Any]:
        verdict = {name: asset[name] for name in ("asset_id", "asset_version", "review_version")}
        if self._rng.random() < 0.12:
            return verdict | {"decision": "reject", "code": self._rng.choice(CODES)}
        return verdict | {"decision": "approve", "rubric": ["sharp"]}

    async def _undo(self, taken: dict[str, Any]) -> None:
        answer = await self._person.call("POST", f"/v1/decisions/{taken['decision_id']}/undo")
        self._write(
            {"asset_id": taken["asset_id"], "decision": "undo"},
            answered="taken" if answer.is_success else "refused",
            decision_id=taken["decision_id"],
            detail="" if answer.is_success else answer.json().get("detail", ""),
        )

    def _write(self, verdict: dict[str, Any], **more: Any) -> None:
        self._ledgers.write("decisions", workspace=self._person.workspace, by=self._person.principal, **verdict, **more)
