"""Keys made for one test, and pictures signed by real children."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from deploy.local.certificates import AUTHORITY, CERTIFICATES, KEY, drawn
from services.postprocess.children import Children
from services.postprocess.development import Development
from services.postprocess.ordering import order
from services.postprocess.signing import Chain, KeySigner, Signer
from shared.events import ImageGenerated
from shared.library.documents import Recipe


@dataclass(frozen=True, slots=True)
class Keys:
    """PEM."""

    authority: str
    certificates: str
    key: str

    @property
    def chain(self) -> Chain:
        return Chain.read(self.certificates, anchors=self.authority)

    def signer(self) -> KeySigner:
        return KeySigner(self.chain, self.key)


def keys() -> Keys:
    """Another authority each time."""
    made = {name: content.decode() for name, content in drawn(now=datetime.now(UTC)).items()}
    return Keys(made[AUTHORITY], made[CERTIFICATES], made[KEY])


OURS = cache(keys)


@dataclass(slots=True)
class CountingSigner:
    """Says how often it was asked, and fails where it is told to."""

    signer: Signer
    fails: Exception | None = None
    asked: list[bytes] = field(default_factory=list)

    @property
    def chain(self) -> Chain:
        return self.signer.chain

    async def sign(self, data: bytes) -> bytes:
        self.asked.append(data)
        if self.fails is not None:
            raise self.fails
        return await self.signer.sign(data)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def developed(
    original: bytes,
    event: ImageGenerated,
    *recipes: Recipe,
    signer: Signer | None = None,
    children: Children | None = None,
    proxies: Sequence[int] = (),
) -> Development:
    """What a real child makes of it."""
    lent = children or Children(count=1, signer=signer)
    by_channel: Mapping[str, Recipe] = {recipe.channel: recipe for recipe in recipes}
    asked: dict[str, Any] = order(event, by_channel, proxies=proxies, chain=signer.chain if signer else None)
    try:
        return await lent.develop(original, asked)
    finally:
        if children is None:
            await lent.stop()
