"""What intake says of a library's documents to the stages that keep them."""

from datetime import datetime
from uuid import UUID

from shared.events import LibraryItemChanged
from shared.library.documents import CURRENT_KINDS, AnyDocument


def published(document: AnyDocument, *, workspace: UUID, at: datetime, state: str = "published") -> LibraryItemChanged:
    """The fact as `services/intake/publishing.py` writes it: in whole for kinds that take effect at once."""
    pin = document.pin()
    return LibraryItemChanged.of(
        cause_id=f"{pin.version} {pin.digest} {state}",
        occurred_at=at,
        workspace=workspace,
        item=f"{workspace}/{document.kind}/{pin.name}",
        kind=document.kind,
        name=pin.name,
        version=pin.version,
        digest=pin.digest,
        state=state,
        owner=document.owner,
        document=document.model_dump(mode="json") if document.kind in CURRENT_KINDS else None,
    )
