"""What stands at a target that says where it put the files: fetched, compared with what was approved, verified.

A target may encode pictures anew, which takes their credentials away. What is left is a fact about the publication,
told in its receipts: nothing is sent again for it, and no delivery fails for it, unless the target's document says so.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from services.publisher.domain import Delivered, Delivery, Refusal, distrust
from services.publisher.proving import Proof
from services.publisher.targets import Serving
from shared.credentials import Credentials, Verifier
from shared.errors import Rejected, Unavailable
from shared.events import Arrived, PublicFile, Receipt, Verified
from shared.pictures import is_avif

SECONDS = 20.0  # for fetching all files of a publication; our own reading of them is not the target's time
TURNS = 2  # publications of one target that are looked at at once: each may hold a file in memory
# What is fetched of one file: encoded anew it may be larger, and no larger than this.
GROWTH, SPARE, MOST = 4, 1024 * 1024, 64 * 1024 * 1024
MANIFEST = re.compile(rb"calotype:ManifestSHA256=\"([0-9a-f]{64})\"")
BEGINNINGS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
PRIVATE = re.compile(r"(?<=://)[^/?#]*@|[?#].*")  # of an address: who may fetch by it, and nobody else is told
# Signed files, there without what they were signed with.
SPOILED = frozenset({Arrived.LOST, Arrived.INVALID})


@dataclass(slots=True)
class Patience:
    """What is left of the seconds that a target has; only what is counted is taken from it."""

    left: float

    @asynccontextmanager
    async def counted(self) -> AsyncIterator[None]:
        """Raises TimeoutError once nothing is left."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with asyncio.timeout(self.left):
                yield
        finally:
            self.left -= clock() - begun


async def seen(
    delivered: Delivered,
    delivery: Delivery,
    *,
    target: Serving,
    proof: Proof,
    verifier: Verifier,
    turns: asyncio.Semaphore,
) -> Delivered:
    """With a receipt for each file that the target says the place of; `turns` are the target's.

    Raises nothing of the target's or verifier's. Nor is it cancelled: what the target took is told, looked at or not.
    """
    files = [file for file in delivery.asset.files if file.name in delivered.stands]
    found: list[Receipt] = []
    try:
        async with turns:
            patience = Patience(SECONDS)
            for file in files:
                told = _unread(file, delivered, "")
                where = delivered.stands[file.name]
                found.append(
                    await _looked(told, file, where, patience=patience, target=target, proof=proof, verifier=verifier)
                )
    except asyncio.CancelledError:
        why = "its worker ended before this was looked at"
        found += [_unread(file, delivered, why) for file in files[len(found) :]]
    return replace(delivered, receipts=[*delivered.receipts, *found], verified=_verified(delivery, found))


def spoiled(delivered: Delivered, *, target: str) -> Refusal | None:
    """Why a target that takes signed files only does not have them."""
    first = next((receipt for receipt in delivered.receipts if receipt.arrived in SPOILED), None)
    if first is None:
        return None
    return Refusal(
        code="provenance",
        detail=f"{target} has this publication, but {first.name}: {first.said}",
        remedy=f"have {target} keep files as they are, then retry; or publish it without require_provenance",
    )


def unseen(cause: str, *, target: str) -> Refusal:
    """Why a target that takes signed files only, and has them, is not asked again whether they are."""
    return Refusal(
        code="unread",
        detail=f"{target} has this publication, but its files could not be read there; last: {cause}",
        remedy=f"have {target} serve them without a key, then retry",
    )


def unread(delivered: Delivered) -> str | None:
    """What could not be looked at, if anything."""
    return next((f"{each.name}: {each.said}" for each in delivered.receipts if each.arrived is Arrived.UNREAD), None)


def _unread(file: PublicFile, delivered: Delivered, why: str) -> Receipt:
    where = PRIVATE.sub("", delivered.stands[file.name])
    return Receipt(location=where, sha256="", bytes=0, name=file.name, arrived=Arrived.UNREAD, said=why)


async def _looked(
    told: Receipt,
    file: PublicFile,
    where: str,
    *,
    patience: Patience,
    target: Serving,
    proof: Proof,
    verifier: Verifier,
) -> Receipt:
    try:
        async with patience.counted():
            data = await target.fetch(where, most=min(MOST, GROWTH * file.bytes + SPARE))
    except TimeoutError:
        return told.model_copy(update={"said": f"it could not be read within {SECONDS:g} s"})
    except (Unavailable, Rejected) as error:
        return told.model_copy(update={"said": f"it could not be read: {error}"})
    sha256 = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
    told = told.model_copy(update={"sha256": sha256, "bytes": len(data)})
    if sha256 == file.sha256:
        return told.model_copy(update={"arrived": Arrived.SAME, "said": None})
    if (media_type := _media_type(data)) is None:
        return told.model_copy(update={"said": "no PNG, JPEG, WebP or AVIF stands there"})
    try:
        credentials = await verifier.read(data, media_type)
        sent = await proof.read(file)
    except (Unavailable, Rejected) as error:
        return told.model_copy(update={"said": f"it was fetched, and could not be examined here: {error}"})
    arrived, said = left(file, credentials, anchored=verifier.anchors is not None)
    return told.model_copy(update={"arrived": arrived, "said": f"it has other bytes, {said}; {_of_xmp(sent, data)}"})


def left(file: PublicFile, found: Credentials, *, anchored: bool) -> tuple[Arrived, str]:
    """Of a file that is not as it was approved."""
    untrusted = distrust(file, found, anchored=anchored)
    if untrusted is None:
        return Arrived.SIGNED, "signed by somebody we trust"
    if file.unsigned_sha256 is None and not found.claims:
        return Arrived.ALTERED, "and carried no Content Credentials"
    if found.state == "none":
        return Arrived.LOST, "and its Content Credentials are gone"
    why = "; ".join(found.problems) or "their signer is nobody we trust"
    return Arrived.INVALID, f"and its Content Credentials do not hold ({why})"


def _of_xmp(sent: bytes, data: bytes) -> str:
    """Whether what stands there still leads to how it was made. Who writes XMP in other words keeps the digest."""
    digest = MANIFEST.search(sent)
    if digest is None:
        return "it was sent without XMP of ours"
    return "its XMP still names the manifest" if digest[1] in data else "its XMP is gone"


def _verified(delivery: Delivery, found: list[Receipt]) -> Verified:
    told = {receipt.name: receipt.arrived for receipt in found}
    if any(arrived not in {Arrived.SAME, Arrived.UNREAD} for arrived in told.values()):
        return Verified.CHANGED
    whole = all(told.get(file.name) is Arrived.SAME for file in delivery.asset.files)
    return Verified.READ_BACK if whole else Verified.ACKNOWLEDGED


def _media_type(data: bytes) -> str | None:
    if is_avif(data):
        return "image/avif"
    return next((media_type for beginning, media_type in BEGINNINGS.items() if data.startswith(beginning)), None)
