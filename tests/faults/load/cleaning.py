"""The janitor: every dead letter ends, half of them by a replay first."""

import asyncio
import random
from typing import Any

from tests.faults.load.ledgers import Ledgers
from tests.faults.load.people import Person, Unexpected
from tests.faults.oracle.invariants.letters import RELEASE_FAILS
from tests.faults.oracle.world import World
from tests.faults.quiet import until_quiet

AT_ONCE = 500
REPLAY_EVERY = 3.0  # seconds


class Janitor:
    """One for all workspaces: letters of records that name no workspace are everybody's."""

    def __init__(self, world: World, people: list[Person], ledgers: Ledgers) -> None:
        self._world = world
        self._people = people
        self._ledgers = ledgers
        self.replayed = 0
        self.dropped = 0

    async def try_some(self, many: int, *, seed: int) -> None:
        """Has so many letters heard again, one now and then; what is still bad comes back as another letter.

        Not many in all: each is one more bad record for a partition that too many would stop.
        """
        rng = random.Random(f"janitor {seed}")
        for _ in range(many):
            await asyncio.sleep(REPLAY_EVERY)
            person = rng.choice(self._people)
            if letters := await self._open(person):
                some = [rng.choice(letters)["dead_letter_id"]]
                await self._replay(person, some)

    async def clear(self, *, within: float = 120) -> None:
        """Replays half of what is open, waits for what becomes of it, and drops the rest until nothing is open.

        All that a release failed on that is mended by now is replayed, as it should be: dropped, it would be done after
        all by whoever reads its topic from the beginning.
        """
        await self._settled(within)
        for person in self._people:
            letters = await self._open(person)
            mended = [letter for letter in letters if RELEASE_FAILS in letter["detail"]]
            others = [letter for letter in letters if RELEASE_FAILS not in letter["detail"]]
            for some in _pieces([letter["dead_letter_id"] for letter in mended + others[::2]]):
                await self._replay(person, some)
        await self._settled(within)
        for person in self._people:
            while letters := await self._open(person):
                for some in _pieces([letter["dead_letter_id"] for letter in letters]):
                    body = {"ids": some, "note": "the load's janitor"}
                    answer = await person.json("POST", "/v1/dead-letters/drop", json=body)
                    self.dropped += answer["dropped"]
                    self._ledgers.write("janitor", what="drop", ids=some, answered=answer)
        await self._settled(within)

    async def _replay(self, person: Person, some: list[str]) -> None:
        answer = await person.call("POST", "/v1/dead-letters/replay", json={"ids": some})
        told = answer.json()
        if answer.is_success:
            self.replayed += told["replayed"]
        elif not told["type"].endswith(":not_replayed"):  # one that is not whole, say: it is dropped later
            raise Unexpected(f"a replay was answered {answer.status_code} {answer.text[:500]}")
        self._ledgers.write("janitor", what="replay", ids=some, answered=told)

    async def _settled(self, within: float) -> None:
        left = await until_quiet(self._world, within=within)
        if left:
            self._ledgers.write("janitor", what="still moving", left=left)

    async def _open(self, person: Person) -> list[dict[str, Any]]:
        return await person.every("/v1/dead-letters", "dead_letters", limit=AT_ONCE)


def _pieces(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]
