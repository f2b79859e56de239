"""Where approved assets go: one file a target, one block of configuration, one suite (tests/contracts/test_targets.py).

The order is the worker's, the same for every target: look up, deliver what is not there, read back.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol
from uuid import UUID

from services.publisher.domain import Delivered, Delivery
from services.publisher.targets.folder import FolderTarget
from shared.errors import Rejected
from shared.events import PublicFile
from shared.library.documents import TargetDocument

Read = Callable[[PublicFile], Awaitable[bytes]]
OpenTarget = Callable[[TargetDocument, UUID], "Target"]


class Uncertain(Exception):
    """The target may or may not have taken the set, and only looking it up can tell."""


class Target(Protocol):
    """Every method raises Unavailable while the target is away, and Rejected for what will never be taken."""

    async def look_up(self, delivery: Delivery) -> bool:
        """Whether the set stands at the target, by the target's own account. Writes nothing."""

    async def deliver(self, delivery: Delivery, *, read: Read) -> None:
        """Put the whole set there or nothing of it, never over something else. `read` fetches a file's bytes.

        Raises Uncertain after a timeout that does not tell. Doing it twice is doing it once.
        """

    async def read_back(self, delivery: Delivery) -> Delivered:
        """Read every file as the target serves it, and hash what came."""

    async def close(self) -> None: ...


def open_target(document: TargetDocument, *, workspace: UUID, publish_folder: Path) -> Target:
    """Raises Rejected for a type that this release has no target for, and for settings the target cannot use."""
    if document.type == "folder":
        return FolderTarget.of(document, workspace=workspace, publish_folder=publish_folder)
    raise Rejected(
        "target_type",
        f"this release cannot publish to a target of type {document.type}",
        document.label,
        "use a target of type folder",
    )
