"""A publisher that kills itself with SIGKILL at one step, in a process of its own.

`python -m tests.live.dying_publisher STEP`, settings from the environment. `never` works until its standard input ends.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.publisher import app
from services.publisher.domain import Delivered, Delivery
from services.publisher.settings import PublisherSettings
from services.publisher.targets import Read, Readable, Target, open_target
from services.publisher.worker import Publisher
from shared import service as service_module
from shared.library.documents import TargetDocument
from shared.outbox import Outbox
from shared.service import open_service

STEPS = ("claimed", "looked up", "half read", "delivered", "read back", "settling", "settled")


def die_at(step: str) -> None:
    if sys.argv[1] == step:
        os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """The real target, with a death before or after each call."""

    def __init__(self, target: Readable) -> None:
        self._target = target

    @property
    def keyed(self) -> bool:
        return self._target.keyed

    async def look_up(self, delivery: Delivery) -> bool:
        die_at("claimed")
        found = await self._target.look_up(delivery)
        die_at("looked up")
        return found

    async def deliver(self, delivery: Delivery, *, read: Read) -> None:
        files = iter(delivery.asset.files[1:])

        async def half(file: Any) -> bytes:
            data = await read(file)
            if next(files, None) is None:
                die_at("half read")
            return data

        await self._target.deliver(delivery, read=half)
        die_at("delivered")

    async def read_back(self, delivery: Delivery) -> Delivered:
        delivered = await self._target.read_back(delivery)
        die_at("read back")
        return delivered

    async def close(self) -> None:
        await self._target.close()


def open_dying(document: TargetDocument, *, workspace: UUID, publish_folder: Any, outside: Any) -> Target:
    target = open_target(document, workspace=workspace, publish_folder=publish_folder)
    assert isinstance(target, Readable)
    return Dying(target)


class DyingPublisher(Publisher):
    async def record(self, *arguments: Any) -> None:
        await super().record(*arguments)
        die_at("settling")  # written, not committed


class DyingOutbox(Outbox):
    def hand_over(self, rows: Sequence[Any]) -> None:
        if rows:
            die_at("settled")  # committed, the event not sent
        super().hand_over(rows)


async def main() -> None:
    vars(app).update(open_target=open_dying, Publisher=DyingPublisher)
    vars(service_module).update(Outbox=DyingOutbox)
    service = await open_service("publisher", PublisherSettings(), roles=frozenset({"work"}))
    await app.build(service)
    await service.start()
    await asyncio.to_thread(sys.stdin.read)
    await service.stop()


if __name__ == "__main__":
    asyncio.run(main())
