"""The worker's side of its child processes: one picture in one child at a time, within limits of time and memory.

A child that dies or takes too long costs its own picture an attempt and nobody else anything; the next picture gets a
new child. Children start when there is work and go when there is none, so an idle service holds no imaging library.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.postprocess.development import Development
from services.postprocess.model_files import ModelFile
from services.postprocess.signing import Signer
from shared.children import Child, ChildDied, Lending
from shared.pictures import clock

__all__ = ["ChildDied", "Children", "OutOfMemory", "PictureRefused"]


class PictureRefused(Exception):
    """The child looked and said no; trying again says the same. `code` is `recipe` or one of `pictures.REMEDIES`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class OutOfMemory(Exception):
    """The picture needs more memory than a child may take."""


class Children:
    """At most `count` child processes, lent one picture each. They hold no key: `signer` answers what they ask."""

    def __init__(
        self,
        *,
        count: int,
        seconds: float = 60,
        decode_seconds: float = 5,
        memory_mb: int = 1024,
        idle_seconds: float = 30,
        models: Mapping[str, ModelFile] | None = None,
        mark_key: bytes | None = None,
        fonts: Path | None = None,
        signer: Signer | None = None,
    ) -> None:
        arguments = _arguments(memory_mb, decode_seconds, models or {}, seconds=seconds / 2)
        self._children = Lending("services.postprocess.child", *arguments, count=count, idle_seconds=idle_seconds)
        self._seconds = seconds
        self._decode_seconds = decode_seconds
        self._mark_key = mark_key or b""
        self._fonts = str(fonts.resolve()) if fonts else None
        self._signer = signer

    async def develop(self, original: bytes, order: Mapping[str, Any], inputs: Sequence[bytes] = ()) -> Development:
        """What `finishing.finished` makes of the original; `inputs` are the pictures that the order names beside it.

        Raises PictureRefused, OutOfMemory, ChildDied, Unavailable where nobody can sign, and RuntimeError with the
        child's traceback for a bug of ours.
        """
        if self._signer is not None:
            self._signer.chain.check_date()  # a child would find that nothing can be signed, and hand it over unsigned
        async with self._children.lent() as child:
            try:
                async with asyncio.timeout(self._seconds) as patience:
                    header, blobs = await child.ask(self._header(order), [original, *inputs])
                    while "sign" in header:
                        header, blobs = await self._signed(child, blobs, patience=patience)
            except TimeoutError:
                await child.kill()
                raise ChildDied(f"the child process took longer than {self._seconds:g} s") from None
            except ChildDied as error:
                raise self._gone(error) from None
            if header.get("error") == "memory":
                raise OutOfMemory(header["detail"])  # ends the child: what is left of its memory may be in pieces
        if header.get("error") == "bug":
            raise RuntimeError(header["detail"])
        if code := header.get("error"):
            raise PictureRefused(code, header["detail"])
        return Development.read(header, blobs)

    async def _signed(
        self, child: Child, questions: Sequence[bytes], *, patience: asyncio.Timeout
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Signs what a child asks for; how long that takes is none of its time."""
        assert self._signer is not None, "a child asks only where its order names a certificate"
        left = (patience.when() or 0.0) - asyncio.get_running_loop().time()
        patience.reschedule(None)
        signatures = await asyncio.gather(*(self._signer.sign(question) for question in questions))
        patience.reschedule(asyncio.get_running_loop().time() + left)
        return await child.ask({}, signatures)

    @property
    def pids(self) -> list[int]:
        """Of the children that wait for work."""
        return self._children.pids

    async def start(self) -> None:
        """A child starts when there is work for it."""

    async def stop(self) -> None:
        """Ends the idle children; those at work end with the call that uses them."""
        await self._children.stop()

    def _header(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The key comes with each order: arguments and environments of processes are there to be read."""
        return {"order": order, "mark_key": self._mark_key.hex(), "fonts": self._fonts}

    def _gone(self, error: ChildDied) -> Exception:
        if error.how == f"signal {clock.ENDED.value}":
            return PictureRefused("too_slow", f"a picture takes more than {self._decode_seconds:g} s to decode")
        return error


def _arguments(memory_mb: int, decode_seconds: float, models: Mapping[str, ModelFile], *, seconds: float) -> list[str]:
    """What a child is started with; with models, also where they are and how long they may take."""
    limits = [str(memory_mb), str(decode_seconds)]
    if not models:
        return limits
    files = {hook: [str(file.path), file.sha256] for hook, file in models.items()}
    return [*limits, json.dumps({"files": files, "seconds": seconds})]
