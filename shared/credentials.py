"""What a file's Content Credentials (C2PA) say and whether they hold, read in a child process.

The bytes may be anybody's, and broken on purpose: they are never parsed in a process that holds keys.
"""

import asyncio
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.children import ChildDied, Lending
from shared.errors import Unavailable

# A picture of 40 MP takes less than half of either.
SECONDS = 20.0
MEMORY_MB = 512
TRIES = 2  # what ends two children is not the machine's fault
NAME = "credentials"  # who reads them, where it is away


class Action(BaseModel):
    """One step that was claimed: its name in C2PA's vocabulary, and what is said beside it."""

    model_config = ConfigDict(frozen=True)

    action: str
    description: str | None = None
    source_type: str | None = None


class Claim(BaseModel):
    """One file's own claim, by whom, and the steps from its parent to it."""

    model_config = ConfigDict(frozen=True)

    title: str | None = None
    signed_by: str | None = None
    issued_by: str | None = None
    algorithm: str | None = None
    actions: tuple[Action, ...] = ()


class Credentials(BaseModel):
    """`trusted`: whole, and signed by somebody we trust. `valid`: whole. `invalid`: changed since, or signed wrongly.

    `claims` goes from the file back to where it began; `problems` says what does not hold.
    """

    model_config = ConfigDict(frozen=True)

    state: Literal["trusted", "valid", "invalid", "none"]
    problems: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    @property
    def source_type(self) -> str | None:
        """As the oldest claim that says one says it: a term's address in IPTC's vocabulary."""
        said = (action.source_type for claim in reversed(self.claims) for action in claim.actions)
        return next(filter(None, said), None)


class Verifier:
    """`anchors`: PEM of the authorities that are trusted; without any, nothing is more than valid."""

    def __init__(self, *, anchors: str | None = None, count: int = 1) -> None:
        self.anchors = anchors
        self._children = Lending("shared.credentials_child", str(MEMORY_MB), count=count)

    async def read(self, data: bytes, media_type: str) -> Credentials:
        """Raises Unavailable where it takes too long: of a file that a slow machine does not read, nothing is known."""
        for _ in range(TRIES):
            try:
                async with self._children.lent() as child, asyncio.timeout(SECONDS):
                    found, _blobs = await child.ask({"media_type": media_type, "anchors": self.anchors}, [data])
                return Credentials.model_validate(found["credentials"])
            except TimeoutError as error:
                raise Unavailable(NAME, f"reading them takes longer than {SECONDS:g} s here") from error
            except ChildDied as error:
                died = error
        return Credentials(state="invalid", problems=(f"reading it ended the process that did: {died!r}",))

    async def start(self) -> None:
        """A child starts when there is something to read."""

    async def stop(self) -> None:
        await self._children.stop()
