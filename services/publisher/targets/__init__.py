"""Where approved assets go: one file a target, one block of configuration, one suite (tests/contracts/test_targets.py).

The order is the worker's, the same for every target: look up where that can be done, deliver what is not there, read
back.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from services.publisher.targets.folder import FolderTarget
from services.publisher.targets.outside import Outside as Outside
from services.publisher.targets.protocol import Busy as Busy
from services.publisher.targets.protocol import Read as Read
from services.publisher.targets.protocol import Readable as Readable
from services.publisher.targets.protocol import Serving as Serving
from services.publisher.targets.protocol import Target as Target
from services.publisher.targets.protocol import Uncertain as Uncertain
from services.publisher.targets.webhook import WebhookTarget, give_up_hours
from shared.errors import Rejected
from shared.library.documents import TargetDocument

OpenTarget = Callable[[TargetDocument, UUID], Target]
NOWHERE = Outside()


def open_target(
    document: TargetDocument, *, workspace: UUID, publish_folder: Path, outside: Outside = NOWHERE
) -> Target:
    """Raises Rejected for a type that this release has no target for, and for settings the target cannot use."""
    if document.type == "folder":
        return FolderTarget.of(document, workspace=workspace, publish_folder=publish_folder)
    if document.type == "webhook":
        return WebhookTarget.of(document, workspace=workspace, outside=outside)
    raise Rejected(
        "target_type",
        f"this release cannot publish to a target of type {document.type}",
        document.label,
        "use a target of type folder or webhook",
    )


def patience_of(document: TargetDocument) -> timedelta | None:
    """For how long after its approval a publication is tried; None: for ever. Raises Rejected as `open_target` does."""
    return timedelta(hours=give_up_hours(document)) if document.type == "webhook" else None
