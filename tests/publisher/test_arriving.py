"""What a target serves is fetched from where it says, and what is left of it is told; it costs no delivery."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from PIL import Image

from services.postprocess.children import Children
from services.publisher import arriving
from services.publisher.arriving import left, seen, spoiled, unread
from services.publisher.domain import Delivered, Delivery
from services.publisher.proving import Proof
from services.publisher.targets.webhook import WebhookTarget
from services.publisher.worker import _delivered, _judged, _too_late
from shared.blobs import FileBlobs, blob_key
from shared.credentials import Claim, Credentials, Verifier
from shared.events import Arrived, PublicationState, Receipt, Verified
from tests.postprocess.images import generated
from tests.postprocess.pictures import plain, written
from tests.postprocess.signed import OURS, developed
from tests.publisher.builders import approved, delivery, public_file
from tests.publisher.test_webhook import webhook
from tests.servers.receiver import Receiver, receiving

NAME = public_file("a", "original", b"").name
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("receiver")) as running:
        running.script(answer={"files": [{"name": NAME, "url": f"{{url}}/files/{NAME}"}]})
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def twice() -> AsyncIterator[tuple[bytes, bytes]]:
    """One picture, signed twice."""
    original, signer = written(plain()), OURS().signer()
    children = Children(count=1, signer=signer)
    one, other = [await developed(original, generated(original), signer=signer, children=children) for _ in range(2)]
    await children.stop()
    yield one.made[0].data, other.made[0].data


@pytest.fixture(scope="module")
def signed(twice: tuple[bytes, bytes]) -> bytes:
    return twice[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verifier() -> AsyncIterator[Verifier]:
    opened = Verifier(anchors=OURS().authority)
    yield opened
    await opened.stop()


def encoded(data: bytes, **kept: Any) -> bytes:
    """As a CMS does it."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
        image.save(out, "WEBP", quality=60, **({"xmp": xmp} if kept.get("xmp") else {}))
    return out.getvalue()


async def arrived(
    folder: Path,
    sent: bytes,
    *,
    receiver: Receiver,
    verifier: Verifier,
    served: bytes | None = None,
    is_signed: bool = True,
    turns: asyncio.Semaphore | None = None,
    **settings: Any,
) -> tuple[Delivery, Delivered]:
    """What a delivery comes to of which the receiver serves `served`."""
    told = public_file("a", "original", sent).model_copy(update={"unsigned_sha256": "0" * 64 if is_signed else None})
    asset = approved(files={}).model_copy(update={"files": [told]})
    asked = replace(delivery(), asset=asset).at(datetime.now(UTC))
    blobs = FileBlobs(folder, public_url="http://localhost", secret="s")
    await blobs.put(blob_key(asset.workspace, asset.asset_id, told.sha256, "png"), sent, media_type="image/png")
    receiver.served = {} if served is None else {NAME: served}
    target: WebhookTarget = webhook(f"{receiver.url}/hooks/site", **settings)
    proof = Proof(asked, blobs=blobs, verifier=verifier)
    try:
        delivered = await target.deliver(asked, read=proof.read)
        turns = turns or asyncio.Semaphore()
        return asked, await seen(delivered, asked, target=target, proof=proof, verifier=verifier, turns=turns)
    finally:
        await target.close()


def file_of(delivered: Delivered) -> Receipt:
    message, file = delivered.receipts
    assert message.arrived is None
    return file


async def test_the_same_bytes_are_read_back_equal(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier
) -> None:
    _, found = await arrived(tmp_path, signed, served=signed, receiver=receiver, verifier=verifier)
    file = file_of(found)
    assert (found.verified, file.arrived, file.said) == (Verified.READ_BACK, Arrived.SAME, None)
    assert (file.sha256, file.bytes) == (hashlib.sha256(signed).hexdigest(), len(signed))


@pytest.mark.parametrize(("xmp", "left"), [(True, "its XMP still names the manifest"), (False, "its XMP is gone")])
async def test_of_a_file_that_was_encoded_anew_it_is_told_what_is_left(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier, *, xmp: bool, left: str
) -> None:
    served = encoded(signed, xmp=xmp)
    asked, found = await arrived(tmp_path, signed, served=served, receiver=receiver, verifier=verifier)
    file = file_of(found)
    assert (found.verified, file.arrived) == (Verified.CHANGED, Arrived.LOST)
    assert file.said == f"it has other bytes, and its Content Credentials are gone; {left}"
    assert file.sha256 == hashlib.sha256(served).hexdigest()
    tried = _delivered(asked, found)
    assert tried.state is PublicationState.DELIVERED, "it is a fact about the publication"
    strict = _judged(tried, keyed=True)
    assert strict.state is PublicationState.FAILED and strict.refusal is not None
    assert (strict.refusal.code, "are gone" in strict.refusal.detail) == ("provenance", True)


async def test_a_changed_byte_does_not_hold_and_what_was_signed_again_by_us_does(
    tmp_path: Path, twice: tuple[bytes, bytes], receiver: Receiver, verifier: Verifier
) -> None:
    signed, again = twice
    changed = signed[:-30] + bytes([signed[-30] ^ 1]) + signed[-29:]
    for served, word in {changed: Arrived.INVALID, again: Arrived.SIGNED}.items():
        _, found = await arrived(tmp_path, signed, served=served, receiver=receiver, verifier=verifier)
        assert (file_of(found).arrived, found.verified) == (word, Verified.CHANGED)
        assert (spoiled(found, target="site") is None) is (word is Arrived.SIGNED)


async def test_a_strangers_signature_does_not_hold_where_somebody_in_particular_is_trusted() -> None:
    (file, *_), theirs = approved().files, Credentials(state="valid", claims=(Claim(title="a"),))
    assert left(file, theirs, anchored=True) == (
        Arrived.INVALID,
        "and its Content Credentials do not hold (their signer is nobody we trust)",
    )
    assert left(file, theirs, anchored=False)[0] is Arrived.SIGNED


async def test_a_file_that_was_never_signed_is_altered_and_has_lost_nothing(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier
) -> None:
    sent = written(plain())
    _, found = await arrived(
        tmp_path, sent, served=encoded(signed), receiver=receiver, verifier=verifier, is_signed=False
    )
    assert file_of(found).arrived is Arrived.ALTERED
    assert "it was sent without XMP of ours" in (file_of(found).said or "")


async def test_what_is_not_served_yet_is_told_and_a_strict_target_asked_again(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier
) -> None:
    asked, found = await arrived(tmp_path, signed, receiver=receiver, verifier=verifier)
    file = file_of(found)
    assert (found.verified, file.arrived, file.sha256) == (Verified.ACKNOWLEDGED, Arrived.UNREAD, "")
    assert "it answered 404" in (unread(found) or "")
    strict = _judged(_delivered(asked, found), keyed=True)
    assert (strict.state, strict.unsure, strict.away) == (PublicationState.PENDING, True, None)
    for ended in (_too_late(strict), _judged(_delivered(asked, found), keyed=False)):
        assert (ended.state, ended.unsure, ended.answered) == (PublicationState.FAILED, False, True)
        assert ended.refusal is not None and "site has this publication, but" in ended.refusal.detail
    _, found = await arrived(tmp_path, signed, served=b"<html>Sign in", receiver=receiver, verifier=verifier)
    assert (file_of(found).arrived, unread(found)) == (
        Arrived.UNREAD,
        f"{NAME}: no PNG, JPEG, WebP or AVIF stands there",
    )


async def test_more_bytes_than_the_file_can_have_and_more_time_than_there_is_end_the_look(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found = await arrived(tmp_path, signed, served=bytes(2_000_000), receiver=receiver, verifier=verifier)
    assert "more than 1,0" in (file_of(found).said or "")

    async def never(*_: object, **__: object) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError("nobody ends it")

    monkeypatch.setattr(arriving, "SECONDS", 0.01)
    monkeypatch.setattr(WebhookTarget, "fetch", never)
    _, found = await arrived(tmp_path, signed, served=signed, receiver=receiver, verifier=verifier)
    assert "within 0.01 s" in (file_of(found).said or "")


async def test_what_our_own_examination_takes_is_not_the_targets_time(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Verifier):
        async def read(self, data: bytes, media_type: str) -> Credentials:
            await asyncio.sleep(0.001)
            return await verifier.read(data, media_type)

    async def at_once(*_: object, **__: object) -> bytes:
        return encoded(signed)

    monkeypatch.setattr(arriving, "SECONDS", 0.0)
    monkeypatch.setattr(WebhookTarget, "fetch", at_once)
    slow = Slow(anchors=verifier.anchors)
    _, found = await arrived(tmp_path, signed, receiver=receiver, verifier=slow)
    assert file_of(found).arrived is Arrived.LOST


async def test_a_look_waits_for_its_turn_and_one_that_is_ended_tells_what_was_taken(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, begun = asyncio.Event(), asyncio.Event()

    class Turns(asyncio.Semaphore):
        async def acquire(self) -> Literal[True]:
            asked.set()
            return await super().acquire()

    async def never(*_: object, **__: object) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody ends it")

    monkeypatch.setattr(WebhookTarget, "fetch", never)
    turns = Turns(0)
    look = asyncio.create_task(arrived(tmp_path, signed, receiver=receiver, verifier=verifier, turns=turns))
    async with asyncio.timeout(10):
        await asked.wait()
        assert not begun.is_set()
        turns.release()
        await begun.wait()
    look.cancel()
    sent, found = await look
    assert (file_of(found).arrived, found.verified) == (Arrived.UNREAD, Verified.ACKNOWLEDGED)
    assert "its worker ended" in (file_of(found).said or "")
    assert _delivered(sent, found).state is PublicationState.DELIVERED
    assert _judged(_delivered(sent, found), keyed=True).unsure


@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/latest", "http://127.0.0.1:1/a", "https://u:p@127.0.0.1/a", "file:///etc/passwd", "//x"],
)
async def test_no_answer_leads_anywhere_but_to_the_target(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier, address: str
) -> None:
    receiver.script(target="site", answer={"files": [{"name": NAME, "url": address}]})
    try:
        _, found = await arrived(tmp_path, signed, served=signed, receiver=receiver, verifier=verifier)
    finally:
        receiver.at.clear()
    assert file_of(found).arrived is Arrived.UNREAD
    assert "not where site says that it serves from" in (file_of(found).said or "")


async def test_an_address_whose_host_is_no_name_costs_nothing_but_the_look(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier
) -> None:
    receiver.script(target="site", answer={"files": [{"name": NAME, "url": "https://xn--0/x"}]})
    try:
        _, found = await arrived(tmp_path, signed, served=signed, receiver=receiver, verifier=verifier)
    finally:
        receiver.at.clear()
    assert file_of(found).arrived is Arrived.UNREAD and "no address" in (file_of(found).said or "")


@pytest.mark.parametrize("private", ["?X-Amz-Signature=s3cret&a=1", "#s3cret"])
async def test_an_address_that_is_signed_for_us_is_fetched_in_whole_and_told_without_what_signs_it(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier, private: str
) -> None:
    where = f"{receiver.url}/files/{NAME}"
    receiver.script(target="site", answer={"files": [{"name": NAME, "url": where + private}]})
    receiver.queries.clear()
    try:
        _, found = await arrived(tmp_path, signed, served=signed, receiver=receiver, verifier=verifier)
    finally:
        receiver.at.clear()
    assert (file_of(found).location, file_of(found).arrived) == (where, Arrived.SAME)
    assert receiver.queries == [private.removeprefix("?") if "?" in private else ""]


async def test_a_document_may_name_another_host_to_look_at(
    tmp_path: Path, signed: bytes, receiver: Receiver, verifier: Verifier
) -> None:
    cdn = receiver.url.replace("127.0.0.1", "localhost")
    receiver.script(target="site", answer={"files": [{"name": NAME, "url": f"{cdn}/files/{NAME}"}]})
    try:
        _, found = await arrived(
            tmp_path, signed, served=signed, receiver=receiver, verifier=verifier, serves_from=[cdn]
        )
    finally:
        receiver.at.clear()
    assert found.verified is Verified.READ_BACK


@pytest.mark.parametrize(
    "answer",
    [
        {"files": "none"},
        {"files": [{"name": NAME}]},
        {"files": [{"name": NAME, "url": "https://h/\0"}]},
        {"files": [{"name": NAME, "url": "https://h/" + "x" * 500}]},
        {"id": 7},
        [],
        {"x": "y" * 300_000},
    ],
)
async def test_an_answer_that_says_nothing_we_can_read_is_an_acknowledgement(
    receiver: Receiver, answer: Mapping[str, Any]
) -> None:
    receiver.script(target="site", answer=answer)
    target = webhook(f"{receiver.url}/hooks/site")
    try:
        delivered = await target.deliver(delivery().at(datetime.now(UTC)), read=lambda _: asyncio.sleep(0, b""))
    finally:
        await target.close()
        receiver.at.clear()
    assert (delivered.verified, delivered.stands) == (Verified.ACKNOWLEDGED, {})
