"""What stands at a target that says where it put the files: fetched, compared with what was approved, verified.

A target may encode pictures anew, which takes their credentials away. What is left is a fact about the publication,
told in its receipts: nothing is sent again for it, and no delivery fails for it, unless the target's document says so.
"""

import asyncio
import hashlib
import re
from dataclasses import replace

from services.publisher.domain import Delivered, Delivery, Refusal, distrust
from services.publisher.proving import Proof
from services.publisher.targets import Serving
from shared.credentials import Credentials, Verifier
from shared.errors import Rejected, Unavailable
from shared.events import Arrived, PublicFile, Receipt, Verified

SECONDS = 20.0  # for all files of a publication; a target's turn is taken so long
# What is fetched of one file: encoded anew it may be larger, and no larger than this.
GROWTH, SPARE, MOST = 4, 1024 * 1024, 64 * 1024 * 1024
MANIFEST = re.compile(rb"calotype:ManifestSHA256=\"([0-9a-f]{64})\"")
BEGINNINGS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
AVIF = b"ftypavif"
PRIVATE = re.compile(r"(?<=://)[^/?#]*@|[?#].*")  # of an address: who may fetch by it, and nobody else is told
# Signed files, there without what they were signed with.
SPOILED = frozenset({Arrived.LOST, Arrived.INVALID})


async def seen(
    delivered: Delivered, delivery: Delivery, *, target: Serving, proof: Proof, verifier: Verifier
) -> Delivered:
    """With a receipt for each file that the target says the place of. Raises nothing of the target's or verifier's."""
    until = asyncio.get_running_loop().time() + SECONDS
    found = [
        await _receipt(file, delivered.stands[file.name], until, target=target, proof=proof, verifier=verifier)
        for file in delivery.asset.files
        if file.name in delivered.stands
    ]
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


def unread(delivered: Delivered) -> str | None:
    """What could not be looked at, if anything."""
    return next((f"{each.name}: {each.said}" for each in delivered.receipts if each.arrived is Arrived.UNREAD), None)


async def _receipt(
    file: PublicFile, location: str, until: float, *, target: Serving, proof: Proof, verifier: Verifier
) -> Receipt:
    told = Receipt(location=PRIVATE.sub("", location), sha256="", bytes=0, name=file.name, arrived=Arrived.UNREAD)
    try:
        async with asyncio.timeout_at(until):
            data = await target.fetch(location, most=min(MOST, GROWTH * file.bytes + SPARE))
            sha256 = hashlib.sha256(data).hexdigest()
            told = told.model_copy(update={"sha256": sha256, "bytes": len(data)})
            if sha256 == file.sha256:
                return told.model_copy(update={"arrived": Arrived.SAME})
            if (media_type := _media_type(data)) is None:
                return told.model_copy(update={"said": "no PNG, JPEG, WebP or AVIF stands there"})
            credentials = await verifier.read(data, media_type)
            sent = await proof.read(file)
    except TimeoutError:
        return told.model_copy(update={"said": f"it could not be read within {SECONDS:g} s"})
    except (Unavailable, Rejected) as error:
        return told.model_copy(update={"said": f"it could not be read: {error}"})
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
    if data[4:12] == AVIF:
        return "image/avif"
    return next((media_type for beginning, media_type in BEGINNINGS.items() if data.startswith(beginning)), None)
