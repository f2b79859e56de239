"""Signed files are looked at before they leave and where they arrived, in a child process; others pass by."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import pytest_asyncio

from services.publisher import worker
from services.publisher.domain import Delivery, distrust, refusal_of
from services.publisher.proving import Proof
from shared.blobs import FileBlobs, blob_key
from shared.children import Child, ChildDied
from shared.credentials import Credentials, Verifier
from shared.errors import Rejected, Unavailable
from shared.events import PublicFile
from tests.postprocess.images import generated
from tests.postprocess.pictures import plain, written
from tests.postprocess.signed import OURS, developed, keys
from tests.publisher.builders import approved, delivery, public_file, target_document

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signed() -> bytes:
    original = written(plain())
    development = await developed(original, generated(original), signer=OURS().signer())
    return development.made[0].data


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verifier() -> AsyncIterator[Verifier]:
    opened = Verifier(anchors=OURS().authority)
    yield opened
    await opened.stop()


def holding(folder: Path, data: bytes) -> tuple[Delivery, FileBlobs]:
    """A delivery of one file that is told to be signed, and a store that has it."""
    told = public_file("a", "original", data)
    asset = approved(files={}).model_copy(update={"files": [told.model_copy(update={"unsigned_sha256": "0" * 64})]})
    blobs = FileBlobs(folder, public_url="http://localhost", secret="s")
    path = blobs.path(blob_key(asset.workspace, asset.asset_id, asset.files[0].sha256, "png"))
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return replace(delivery(), asset=asset), blobs


async def test_a_file_that_is_whole_and_ours_goes_out(tmp_path: Path, signed: bytes, verifier: Verifier) -> None:
    asked, blobs = holding(tmp_path, signed)
    proof = Proof(asked, blobs=blobs, verifier=verifier)
    assert await proof.read(asked.asset.files[0]) == signed
    blobs.path(blob_key(asked.asset.workspace, asked.asset.asset_id, asked.asset.files[0].sha256, "png")).unlink()
    await proof.complete()  # what was verified in this try is not read again


async def test_a_file_that_was_changed_does_not(tmp_path: Path, signed: bytes, verifier: Verifier) -> None:
    changed = signed[:-30] + bytes([signed[-30] ^ 1]) + signed[-29:]
    asked, blobs = holding(tmp_path, changed)
    with pytest.raises(Rejected, match="they do not hold") as refused:
        await Proof(asked, blobs=blobs, verifier=verifier).complete()
    assert refused.value.code == "provenance"
    assert refused.value.remedy


async def test_a_file_that_lost_its_credentials_does_not(tmp_path: Path, verifier: Verifier) -> None:
    asked, blobs = holding(tmp_path, written(plain()))
    with pytest.raises(Rejected, match="they are gone"):
        await Proof(asked, blobs=blobs, verifier=verifier).complete()


async def test_a_strangers_signature_goes_out_only_where_nobody_in_particular_is_trusted(
    tmp_path: Path, signed: bytes
) -> None:
    asked, blobs = holding(tmp_path, signed)
    for anchors, fault in ((keys().authority, "nobody we trust"), (None, None)):
        other = Verifier(anchors=anchors)
        proof = Proof(asked, blobs=blobs, verifier=other)
        if fault is None:
            await proof.complete()
        else:
            with pytest.raises(Rejected, match=fault):
                await proof.complete()
        await other.stop()


async def test_what_was_never_signed_is_not_parsed_by_anybody(tmp_path: Path) -> None:
    class Nobody(Verifier):
        async def read(self, data: bytes, media_type: str) -> Credentials:
            raise AssertionError("nothing here is signed")

    asked, blobs = holding(tmp_path, b"no picture")
    asset = asked.asset.model_copy(
        update={"files": [file.model_copy(update={"unsigned_sha256": None}) for file in asked.asset.files]}
    )
    proof = Proof(replace(asked, asset=asset), blobs=blobs, verifier=Nobody())
    assert await proof.read(asset.files[0]) == b"no picture"
    await proof.complete()


async def test_bytes_that_end_two_readers_are_invalid_and_the_next_file_is_read(
    signed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Verifier(anchors=OURS().authority)
    asked: list[str] = []

    async def die(_: Child, header: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> NoReturn:
        asked.append(header["media_type"])
        raise ChildDied("the child process ended with signal 11", "signal 11")

    with monkeypatch.context() as dying:
        dying.setattr(Child, "ask", die)
        found = await broken.read(signed, "image/png")
    assert found.state == "invalid" and "ended" in found.problems[0]
    assert len(asked) == 2
    assert (await broken.read(signed, "image/png")).state == "trusted"
    await broken.stop()


async def test_a_reader_that_is_slow_is_no_verdict_and_the_publication_is_tried_again(
    tmp_path: Path, signed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Verifier(anchors=OURS().authority)
    asked, blobs = holding(tmp_path, signed)
    monkeypatch.setattr("shared.credentials.SECONDS", 0.0)
    with pytest.raises(Unavailable) as waits:
        await Proof(asked, blobs=blobs, verifier=slow).complete()
    assert waits.value.dependency in worker.OURS, "the target is not at fault"
    monkeypatch.undo()
    await Proof(asked, blobs=blobs, verifier=slow).complete()
    await slow.stop()


async def test_a_file_is_verified_once_in_a_try(tmp_path: Path, signed: bytes) -> None:
    class Counting(Verifier):
        count = 0

        async def read(self, data: bytes, media_type: str) -> Credentials:
            self.count += 1
            return Credentials(state="trusted")

    asked, blobs = holding(tmp_path, signed)
    counting = Counting(anchors=OURS().authority)
    proof = Proof(asked, blobs=blobs, verifier=counting)
    await proof.complete()
    assert await proof.read(asked.asset.files[0]) == signed
    assert counting.count == 1


async def test_a_target_that_wants_signed_files_is_given_no_others() -> None:
    strict = target_document(require_provenance=True)
    refusal = refusal_of(approved(), target=strict)
    assert refusal is not None and refusal.code == "provenance"
    signed = [file.model_copy(update={"unsigned_sha256": "0" * 64}) for file in approved().files]
    assert refusal_of(approved().model_copy(update={"files": signed}), target=strict) is None
    assert refusal_of(approved(), target=target_document()) is None


async def test_a_file_is_trusted_by_its_state_alone() -> None:
    file = PublicFile(name="a.png", media_type="image/png", bytes=1, sha256=hashlib.sha256(b"a").hexdigest(), url="u")
    allowed = {
        (state, anchored): distrust(file, Credentials(state=state), anchored=anchored) is None
        for state in ("trusted", "valid", "invalid", "none")
        for anchored in (True, False)
    }
    assert {pair for pair, is_let_out in allowed.items() if is_let_out} == {
        ("trusted", True),
        ("trusted", False),
        ("valid", False),
    }
