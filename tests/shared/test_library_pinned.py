import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.blobs import FileBlobs, library_key
from shared.errors import BlobMissing, Rejected
from shared.library.documents import Brand, Template
from shared.library.pinned import Library
from shared.library.reading import read_folder
from tests.prompt.library import brand, template

SHIPPED = Path(__file__).resolve().parents[2] / "deploy/library"
# As they have been pinned wherever the demo ran: a new field of a kind must not change what does not use it.
DIGESTS = {
    "brand salt-linden@1": "d30b2c9f12d4e48f",
    "campaign salt-and-brine@1": "b17c2b60b3556666",
    "campaign salt-and-brine@2": "ed988285da50b610",
    "campaign salt-and-brine@3": "1d17c73cfb6c08e7",
    "policy house@1": "a74e68dd27cb3ab2",
    "recipe web@1": "a1914fa97813c836",
    "recipe web@2": "625174af5fedf4ad",
    "recipe web@3": "bc95f8c3595092bc",
    "recipe blog@1": "dd20fe61d1f46855",
    "recipe landing@1": "35945e5341975ba7",
    "recipe social@1": "f9e6130f5352236e",
    "recipe social@2": "207bc0f4906b694f",
    "recipe email@1": "5e4cbf0ec78d6571",
    "recipe email@2": "a0b965db976f8844",
    "recipe ads@1": "87aeaff197e7bfc6",
    "recipe ads@2": "954f4e1d71eef810",
    "recipe marketplace@1": "5b9ac132753d8948",
    "recipe marketplace@2": "af3ff4aea04d0ca8",
    "routes routes@1": "29498800abef8a77",
    "rubric tile@1": "dca5000de1ccd49d",
    "rubric tile@2": "a3f9aff9abe946ed",
    "rubric tile@3": "c55cb1abc7940163",
    "rubric tile@4": "6e80627e0d1eb7e0",
    "rubric lifestyle@1": "9a0ea70c3e0ea568",
    "rubric lifestyle@2": "ba8d250792c1bce6",
    "rubric lifestyle@3": "0325296d3183e65e",
    "rubric lifestyle@4": "27cbe8b741ea0233",
    "rubric hero@1": "14c5d5fae4ad7827",
    "rubric hero@2": "4aa05e943a8b0e06",
    "rubric hero@3": "736bdab0b83d25aa",
    "target showroom@1": "be590f7dffc5ef88",
    "template email-hero@1": "c321361a567b57ed",
    "template lifestyle@1": "608937691f5a7d35",
    "template lifestyle@2": "a6497130f7907626",
    "template product-tile@2": "74ba575efeb353ef",
    "template product-tile@3": "18d503fec3b64eb3",
}


class Counted(FileBlobs):
    reads = 0

    async def get(self, key: str) -> bytes:
        self.reads += 1
        return await super().get(key)


@pytest.fixture
def blobs(tmp_path: object) -> Counted:
    return Counted(tmp_path, public_url="http://x", secret="s" * 32)  # type: ignore[arg-type]


async def stored(blobs: Counted) -> UUID:
    workspace = uuid4()
    pin = template().pin()
    await blobs.put(library_key(workspace, pin.digest), template().canonical(), media_type="application/json")
    return workspace


async def test_a_document_is_read_once_however_many_ask(blobs: Counted) -> None:
    workspace = await stored(blobs)
    library = Library(blobs)
    found = await asyncio.gather(*(library.get(Template, workspace, template().pin()) for _ in range(20)))
    assert all(document == template() for document in found)
    assert blobs.reads == 1


async def test_another_workspaces_document_is_not_there(blobs: Counted) -> None:
    workspace = await stored(blobs)
    library = Library(blobs)
    await library.get(Template, workspace, template().pin())
    with pytest.raises(BlobMissing):
        await library.get(Template, uuid4(), template().pin())


async def test_a_document_of_another_kind_is_refused_first_and_from_memory(blobs: Counted) -> None:
    workspace = await stored(blobs)
    library = Library(blobs)
    with pytest.raises(Rejected, match="is no Brand: ") as refused:
        await library.get(Brand, workspace, template().pin())
    assert "input_value" not in str(refused.value), "it says which fields, not what they hold"
    await library.get(Template, workspace, template().pin())
    with pytest.raises(Rejected, match="is no Brand"):
        await library.get(Brand, workspace, template().pin())


def test_a_document_keeps_its_digest_through_the_store() -> None:
    assert Brand.model_validate_json(brand().canonical()).pin() == brand().pin()


def test_documents_keep_the_digests_under_which_they_were_published() -> None:
    found = {
        f"{document.kind} {document.label}": document.pin().digest[:16]
        for document, _ in read_folder(SHIPPED).documents
    }
    assert {label: found.get(label) for label in DIGESTS} == DIGESTS, "what was published is not changed: add a version"
    assert found.keys() == DIGESTS.keys(), "a new version's digest is kept here too, so that nobody changes it later"
