from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.prompt import handler
from shared.blobs import FileBlobs, library_key
from shared.errors import BlobMissing
from shared.events import PromptAssembled
from shared.library.documents import Document
from shared.library.pinned import Library
from shared.topics import REQUESTS_ACCEPTED
from tests.prompt.library import brand, campaign, policy, template
from tests.prompt.test_domain import WORKSPACE, request


class Edge:
    """Takes what the handler registers, as the bus does."""

    def __init__(self) -> None:
        self.registered: dict[str, Any] = {}

    def transform(self, *topics: Any, group: str) -> Callable[[Any], Any]:
        def register(handle: Any) -> Any:
            self.registered = {"topics": topics, "group": group, "handle": handle}
            return handle

        return register


async def handle_with(tmp_path: Path, *documents: Document) -> Any:
    blobs = FileBlobs(tmp_path, public_url="http://x", secret="s" * 32)
    for document in documents:
        key = library_key(WORKSPACE, document.pin().digest)
        await blobs.put(key, document.canonical(), media_type="application/json")
    edge = Edge()
    handler.wire(edge, library=Library(blobs))  # type: ignore[arg-type]
    assert edge.registered["topics"] == (REQUESTS_ACCEPTED,)
    return edge.registered["handle"]


async def test_a_request_is_assembled_from_the_documents_it_pinned(tmp_path: Path) -> None:
    told = campaign(brief="calm mornings")
    named = template(prompt="{{ campaign.brief }}")
    handle = await handle_with(tmp_path, brand(), named, policy(), told)
    (event,) = await handle(request(template=named.pin(), campaign=told.pin()))
    assert isinstance(event, PromptAssembled) and event.prompt.startswith("calm mornings")


async def test_a_pinned_document_that_is_gone_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    handle = await handle_with(tmp_path, brand(), policy())
    with pytest.raises(BlobMissing):
        await handle(request())
