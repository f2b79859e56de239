import asyncio
from uuid import UUID, uuid4

import pytest

from shared.blobs import FileBlobs, library_key
from shared.errors import BlobMissing, Rejected
from shared.library.documents import Brand, Template
from shared.library.pinned import Library
from tests.prompt.library import brand, template


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
    with pytest.raises(Rejected, match="is no Brand"):
        await library.get(Brand, workspace, template().pin())
    await library.get(Template, workspace, template().pin())
    with pytest.raises(Rejected, match="is no Brand"):
        await library.get(Brand, workspace, template().pin())


def test_a_document_keeps_its_digest_through_the_store() -> None:
    assert Brand.model_validate_json(brand().canonical()).pin() == brand().pin()
