"""Who runs the pipeline, when it is calm again: looks into what is uncertain, and starts again what failed.

Half of it: what nobody looked into has to stay listed as uncertain, or failed with its reason.
"""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.faults.load.ledgers import Ledgers
from tests.faults.load.people import Person
from tests.faults.oracle.files import lines

IN_VAIN = frozenset({"above_ceiling", "proof"})  # why a publication would be refused again


class Operator:
    """One for each workspace. `charges` are the providers' own accounts."""

    def __init__(self, person: Person, ledgers: Ledgers, *, charges: Sequence[Path]) -> None:
        self._person = person
        self._ledgers = ledgers
        self._charges = charges

    async def act(self) -> None:
        await self._settle()
        await self._retry_jobs()
        await self._retry_publications()

    async def _settle(self) -> None:
        """As whoever reads the provider's account would."""
        page = await self._person.json("GET", "/v1/uncertain", params={"limit": 500})
        billed = self._billed()
        for place, attempt in enumerate(page["attempts"]):
            if place % 2 == 0:
                charged = str(billed.get(attempt["attempt_id"], "none"))
                asked = {"attempts": [attempt["attempt_id"]], "charged": charged, "note": "the provider's account"}
                answer = await self._person.json("POST", "/v1/uncertain/settle", json=asked)
                self._write("settle", asked, answer)

    def _billed(self) -> dict[str, Decimal]:
        billed: defaultdict[str, Decimal] = defaultdict(Decimal)
        for path in self._charges:
            for line in lines(path):
                billed[line["attempt_id"]] += Decimal(line["amount"])
        return billed

    async def _retry_jobs(self) -> None:
        after: int | None = 0
        while after is not None:
            asked = {"every": True, "limit": 500, "after": after}
            answer = await self._person.json("POST", "/v1/jobs/retry", json=asked)
            after = answer["next"]
            self._write("retry jobs", asked, answer)

    async def _retry_publications(self) -> None:
        for state in ("uncertain", "failed"):
            found = await self._person.every("/v1/publications", "publications", state=state, limit=200)
            for place, publication in enumerate(found):
                if place % 2 == 0 and publication["code"] not in IN_VAIN:
                    path = f"/v1/publications/{publication['publication_id']}/retry"
                    answer = await self._person.call("POST", path)
                    self._write("retry publication", {"path": path}, {"status": answer.status_code})

    def _write(self, what: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        self._ledgers.write("operator", what=what, workspace=self._person.workspace, asked=asked, answered=answer)
