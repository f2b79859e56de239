"""Waiting for a dependency to come back: full jitter, so that a fleet does not knock in step."""

import asyncio
import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles from `first` to `ceiling` seconds; the wait is drawn between nothing and that (full jitter, AWS 2015)."""

    first: float = 0.2
    ceiling: float = 30.0
    failures: int = 0

    def reset(self) -> None:
        self.failures = 0

    def next(self) -> float:
        bound = min(self.ceiling, self.first * 2.0**self.failures)
        self.failures = min(self.failures + 1, 32)
        return random.uniform(0, bound)  # noqa: S311  # jitter is no secret

    async def wait(self) -> None:
        await asyncio.sleep(self.next())
