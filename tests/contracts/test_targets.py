"""What every publishing target must do; a new one joins by a line in `target`, and in `readable` if it can be read."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID

import pytest

from services.publisher.domain import Delivery, difference
from services.publisher.targets import Outside, Readable, Serving, Target, open_target
from services.publisher.targets.outside import read_secret
from shared.errors import BlobMissing
from shared.events import PublicFile, Verified
from tests.publisher.builders import FILES, WORKSPACE, MemoryTarget, PostBox, delivery, reader, target_document
from tests.servers.receiver import NEW_SECRET, receiving


@pytest.fixture(params=["folder", "memory"])
def readable(request: pytest.FixtureRequest, tmp_path: Path) -> Readable:
    if request.param == "memory":
        return MemoryTarget()
    target = open_target(target_document(), workspace=WORKSPACE, publish_folder=tmp_path)
    assert isinstance(target, Readable)
    return target


Effects = Callable[[], Counter[UUID]]  # how often each publication was taken, by the other side's own account


@pytest.fixture(params=["folder", "memory", "webhook", "post box"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Target, Effects]]:
    if request.param == "folder":
        folder = open_target(target_document(), workspace=WORKSPACE, publish_folder=tmp_path)
        yield (
            folder,
            lambda: Counter(UUID(json.loads(path.read_bytes())["publication_id"]) for path in tmp_path.rglob("*.json")),
        )
    elif request.param == "memory":
        memory = MemoryTarget()
        yield memory, lambda: Counter(list(memory.sets))
    elif request.param == "post box":
        box = PostBox()
        yield box, lambda: Counter(box.taken)
    else:
        with receiving(tmp_path) as receiver:
            document = target_document(
                type="webhook", settings={"url": f"{receiver.url}/hooks/site", "secrets": ["new"]}
            )
            outside = Outside(secrets={"new": read_secret(NEW_SECRET)}, networks=[ip_network("127.0.0.0/8")])
            webhook = open_target(document, workspace=WORKSPACE, publish_folder=tmp_path, outside=outside)
            yield webhook, lambda: Counter({UUID(name): many for name, many in receiver.effects().items()})


def now(name: str = "a") -> Delivery:
    return delivery(name).at(datetime.now(UTC))


async def test_a_delivery_has_an_effect_and_is_known_by_reading_or_by_what_was_acknowledged(
    target: tuple[Target, Effects],
) -> None:
    sent, effects = target
    acknowledged = await sent.deliver(now(), read=reader())
    assert effects() == {now().publication_id: 1}
    assert (acknowledged is None) == isinstance(sent, Readable)
    if acknowledged is not None:
        assert acknowledged.verified is Verified.ACKNOWLEDGED
        assert acknowledged.location and acknowledged.receipts
    await sent.close()


async def test_a_target_that_says_it_knows_our_key_takes_a_publication_once(target: tuple[Target, Effects]) -> None:
    sent, effects = target
    for _ in range(3):
        await sent.deliver(now(), read=reader())
    await asyncio.gather(*(sent.deliver(now(), read=reader()) for _ in range(4)))
    assert effects()[now().publication_id] == (1 if sent.keyed else 7)
    await sent.close()


async def test_a_target_that_says_where_the_files_stand_knows_our_key(target: tuple[Target, Effects]) -> None:
    sent, _ = target
    assert sent.keyed or not isinstance(sent, Serving)
    await sent.close()


async def test_two_publications_are_two_effects(target: tuple[Target, Effects]) -> None:
    sent, effects = target
    for name in ("a", "b"):
        await sent.deliver(now(name), read=reader())
    assert effects() == {now(name).publication_id: 1 for name in ("a", "b")}
    await sent.close()


async def test_what_was_not_delivered_is_not_there(readable: Readable) -> None:
    assert not await readable.look_up(delivery())


async def test_what_was_delivered_is_found_and_reads_back_as_approved(readable: Readable) -> None:
    await readable.deliver(delivery(), read=reader())
    assert await readable.look_up(delivery())
    delivered = await readable.read_back(delivery())
    assert difference(delivery().asset, delivered.receipts) is None
    assert delivered.location


async def test_delivering_twice_is_delivering_once(readable: Readable) -> None:
    await readable.deliver(delivery(), read=reader())
    first = await readable.read_back(delivery())
    await readable.deliver(delivery(), read=reader())
    assert await readable.read_back(delivery()) == first


async def test_racing_writers_leave_one_whole_set(readable: Readable) -> None:
    await asyncio.gather(*(readable.deliver(delivery(), read=reader()) for _ in range(8)))
    delivered = await readable.read_back(delivery())
    assert difference(delivery().asset, delivered.receipts) is None
    assert len({receipt.name for receipt in delivered.receipts}) == len(delivered.receipts)


async def test_two_asset_versions_do_not_touch_each_other(readable: Readable) -> None:
    other = {name: data + b" of another" for name, data in FILES.items()}
    await readable.deliver(delivery("a"), read=reader())
    await readable.deliver(delivery("b", files=other), read=reader(other))
    for wanted in (delivery("a"), delivery("b", files=other)):
        assert difference(wanted.asset, (await readable.read_back(wanted)).receipts) is None


async def test_other_bytes_never_replace_what_stands_there(readable: Readable) -> None:
    changed = {name: data + b", changed" for name, data in FILES.items()}
    await readable.deliver(delivery(), read=reader())
    await readable.deliver(delivery(files=changed), read=reader(changed))
    delivered = await readable.read_back(delivery())
    assert difference(delivery().asset, delivered.receipts) is None
    assert difference(delivery(files=changed).asset, delivered.receipts) is not None


@pytest.mark.parametrize("failing", range(len(FILES)))
async def test_a_file_that_cannot_be_fetched_leaves_nothing(readable: Readable, failing: int) -> None:
    fetched: list[str] = []

    async def read(file: PublicFile) -> bytes:
        if len(fetched) == failing:
            raise BlobMissing(file.name)
        fetched.append(file.name)
        return await reader()(file)

    with pytest.raises(BlobMissing):
        await readable.deliver(delivery(), read=read)
    assert not await readable.look_up(delivery())
    await readable.deliver(delivery(), read=reader())
    assert difference(delivery().asset, (await readable.read_back(delivery())).receipts) is None
