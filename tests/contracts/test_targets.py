"""What every publishing target must do; a new one joins by a line in `target`."""

import asyncio
from pathlib import Path

import pytest

from services.publisher.domain import difference
from services.publisher.targets import Target, open_target
from shared.errors import BlobMissing
from shared.events import PublicFile
from tests.publisher.builders import FILES, WORKSPACE, MemoryTarget, delivery, reader, target_document


@pytest.fixture(params=["folder", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "memory":
        return MemoryTarget()
    return open_target(target_document(), workspace=WORKSPACE, publish_folder=tmp_path)


async def test_what_was_not_delivered_is_not_there(target: Target) -> None:
    assert not await target.look_up(delivery())


async def test_what_was_delivered_is_found_and_reads_back_as_approved(target: Target) -> None:
    await target.deliver(delivery(), read=reader())
    assert await target.look_up(delivery())
    delivered = await target.read_back(delivery())
    assert difference(delivery().asset, delivered.receipts) is None
    assert delivered.location


async def test_delivering_twice_is_delivering_once(target: Target) -> None:
    await target.deliver(delivery(), read=reader())
    first = await target.read_back(delivery())
    await target.deliver(delivery(), read=reader())
    assert await target.read_back(delivery()) == first


async def test_racing_writers_leave_one_whole_set(target: Target) -> None:
    await asyncio.gather(*(target.deliver(delivery(), read=reader()) for _ in range(8)))
    delivered = await target.read_back(delivery())
    assert difference(delivery().asset, delivered.receipts) is None
    assert len({receipt.name for receipt in delivered.receipts}) == len(delivered.receipts)


async def test_two_asset_versions_do_not_touch_each_other(target: Target) -> None:
    other = {name: data + b" of another" for name, data in FILES.items()}
    await target.deliver(delivery("a"), read=reader())
    await target.deliver(delivery("b", files=other), read=reader(other))
    for wanted in (delivery("a"), delivery("b", files=other)):
        assert difference(wanted.asset, (await target.read_back(wanted)).receipts) is None


async def test_other_bytes_never_replace_what_stands_there(target: Target) -> None:
    changed = {name: data + b", changed" for name, data in FILES.items()}
    await target.deliver(delivery(), read=reader())
    await target.deliver(delivery(files=changed), read=reader(changed))
    delivered = await target.read_back(delivery())
    assert difference(delivery().asset, delivered.receipts) is None
    assert difference(delivery(files=changed).asset, delivered.receipts) is not None


@pytest.mark.parametrize("failing", range(len(FILES)))
async def test_a_file_that_cannot_be_fetched_leaves_nothing(target: Target, failing: int) -> None:
    fetched: list[str] = []

    async def read(file: PublicFile) -> bytes:
        if len(fetched) == failing:
            raise BlobMissing(file.name)
        fetched.append(file.name)
        return await reader()(file)

    with pytest.raises(BlobMissing):
        await target.deliver(delivery(), read=read)
    assert not await target.look_up(delivery())
    await target.deliver(delivery(), read=reader())
    assert difference(delivery().asset, (await target.read_back(delivery())).receipts) is None
