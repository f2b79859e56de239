"""Signed files are looked at before they leave and where they arrived, in a child process; others pass by."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from services.publisher.domain import Delivery, distrust, refusal_of
from services.publisher.proving import Proof
from shared.blobs import FileBlobs, blob_key
from shared.credentials import Credentials, Verifier
from shared.errors import Rejected
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


async def test_bytes_that_end_their_reader_are_invalid_and_the_next_file_is_read(
    signed: bytes, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Verifier(anchors=OURS().authority)
    monkeypatch.setattr("shared.credentials.SECONDS", 0.0)
    found = await broken.read(signed, "image/png")
    assert found.state == "invalid" and "ended" in found.problems[0]
    monkeypatch.undo()
    assert (await broken.read(signed, "image/png")).state == "trusted"
    await broken.stop()


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
