"""The prompt stage's composition root."""

from services.prompt import handler
from shared.library.pinned import Library
from shared.service import Service


async def build(service: Service) -> None:
    handler.wire(service.bus, library=Library(service.blobs))
