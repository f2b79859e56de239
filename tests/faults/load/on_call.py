"""Who is on call: looks at every stage now and then, and takes up a consumer that stopped over too many bad records.

Where little else travels, a replay of everything brings the same few bad records again, and they are most of it.
"""

import asyncio

import httpx

from tests.faults.load.ledgers import Ledgers
from tests.faults.load.people import Person
from tests.faults.oracle.world import World

LOOK_EVERY = 3.0  # seconds
STOPPED = "stopped: "  # as /readyz says it


class OnCall:
    """`run` until cancelled."""

    def __init__(self, world: World, person: Person, ledgers: Ledgers) -> None:
        self._world = world
        self._person = person
        self._ledgers = ledgers

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for stage in self._world.services:
                answer = await self._person.look(f"/v1/stages/{stage}/readyz")
                for group in stopped(answer):
                    await self._take_up(group)

    async def _take_up(self, group: str) -> None:
        """One try: a grant holds for a minute, and who does not answer is asked for another one later."""
        granted = await self._person.once("POST", "/v1/dead-letters/resume", json={"group": group})
        if granted is None or not granted.is_success:
            return
        told = granted.json()
        headers = {"Authorization": f"Grant {told['grant']}"}
        done = await self._person.once("POST", told["resume_at"], headers=headers)
        self._ledgers.write("on_call", group=group, answered=done.json() if done is not None else None)


def stopped(answer: httpx.Response | None) -> list[str]:
    """The groups that a stage says have stopped; of one that does not answer, or cannot yet, none."""
    if answer is None or answer.status_code not in {200, 503}:
        return []
    told = answer.json().get("dependencies", {})
    return [group for group, why in told.items() if str(why).startswith(STOPPED)]
