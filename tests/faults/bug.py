"""A release with a bug that some jobs meet: laid into the services, and there for as long as its stage's file is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.bus import Apply, Bus, Item, Transform
from shared.outbox import Transaction
from shared.topics import Topic
from tests.faults.oracle.invariants.letters import RELEASE_FAILS

# What each of them reads first of a job; whatever else is set aside of it is a real bug.
READS = {
    "prompt": {"RequestAccepted"},
    "inference": {"PromptAssembled"},
    "postprocess": {"ImageGenerated", "DerivativesRequested"},
}


class Bug:
    """Met by events of jobs (a request, where there is no job yet) whose id ends as the file says."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.there, self.met = folder / stage, folder / f"{stage}.met"
        self._reads = READS[stage]

    def meets(self, event: Any) -> None:
        """Raises RuntimeError."""
        if type(event).__name__ not in self._reads:
            return
        try:
            ending = self.there.read_text()
        except FileNotFoundError:
            return
        if (getattr(event, "job_id", None) or event.request_id).hex.endswith(ending):
            self.met.touch()
            raise RuntimeError(RELEASE_FAILS)


def lay(folder: Path, stage: str) -> None:
    """Into both edges: where one event is handled, and where a batch's rows have just been written."""
    if stage not in READS:
        return
    bug = Bug(folder, stage)
    transform, write = Bus.transform, Bus.write

    def transformed(bus: Bus, *topics: Topic, group: str) -> Any:
        register = transform(bus, *topics, group=group)

        def registered(handler: Transform) -> Transform:
            async def handled(event: Any) -> Sequence[Any]:
                bug.meets(event)
                return await handler(event)

            return register(handled)

        return registered

    async def written(bus: Bus, apply: Apply, items: list[Item]) -> None:
        plain = getattr(apply, "plain", apply)  # a half of a batch comes here again

        async def applied(into: Transaction, rows: Sequence[Any]) -> None:
            await plain(into, rows)
            for item in items:
                bug.meets(item.event)

        applied.plain = plain  # type: ignore[attr-defined]
        await write(bus, applied, items)

    Bus.transform = transformed  # type: ignore[method-assign,assignment]
    Bus.write = written  # type: ignore[method-assign,assignment]
