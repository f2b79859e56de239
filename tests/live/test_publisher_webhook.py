"""A signed webhook as a target on real servers: told once, settled by hand where nobody knows, its outages its own."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from deploy.local.servers import EmbeddedServers
from services.publisher.targets.webhook import message
from shared.events import Arrived, AssetPublished, PublicationFailed, Verified
from shared.library.documents import TargetDocument
from tests.live.publishing import hold, publisher, target_changed, until
from tests.postprocess.pictures import plain, written
from tests.publisher.builders import FILES, approved, delivery, target_document
from tests.servers.receiver import NEW_SECRET, OLD_SECRET, Receiver, receiving

HOOKS = {
    "target_secrets": {"hook_new": NEW_SECRET, "hook_old": OLD_SECRET},
    "target_networks": [ip_network("127.0.0.0/8")],
    "publish_retry_seconds": 0.05,
    "publish_retry_ceiling_seconds": 0.2,
}


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as running:
        yield running


def hook(receiver: Receiver, name: str = "site", **changed: Any) -> TargetDocument:
    settings = {"url": f"{receiver.url}/hooks/{name}", "secrets": ["hook_new", "hook_old"], "timeout_seconds": 1}
    return target_document(name, type="webhook", settings=settings, **changed)


async def test_an_approval_is_told_once_though_its_answers_are_lost(
    servers: EmbeddedServers, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.script(weights={"reply_lost": 1})
    async with publisher(servers, tmp_path, **HOOKS) as running:
        await running.send(target_changed(hook(receiver)), await hold(running.service.blobs, approved()))

        async def told_twice() -> bool:
            return len(receiver.lines()) > 1

        await until(told_twice)
        whole, anew, missing = delivery().asset.files
        receiver.served = {whole.name: FILES["original"], anew.name: written(plain())}
        places = [{"name": file.name, "url": f"{{url}}/files/{file.name}"} for file in (whole, anew, missing)]
        receiver.script(weights={"409": 1}, answer={"files": places})
        (event,) = await running.ended(1)
        assert isinstance(event, AssetPublished)
        assert event.verified is Verified.CHANGED, "and delivered"
        body = message(delivery())
        taken, *there = event.receipts
        assert (taken.remote_id, taken.bytes) == (str(delivery().publication_id), len(body))
        assert [(each.name, each.arrived) for each in there] == [
            (whole.name, Arrived.SAME),
            (anew.name, Arrived.ALTERED),
            (missing.name, Arrived.UNREAD),
        ]
        assert receiver.effects() == {str(delivery().publication_id): 1}
        async with running.member() as member:
            (row,) = (await member.get("/v1/publications")).json()["publications"]
            assert (row["state"], row["verified"]) == ("delivered", "changed")
            assert "it has other bytes" in row["receipts"][2]["said"]
            assert NEW_SECRET not in (await member.get("/v1/targets")).text


@pytest.mark.parametrize("delivered", [True, False])
async def test_what_nobody_knows_is_listed_and_settled_by_a_persons_word(
    servers: EmbeddedServers, tmp_path: Path, receiver: Receiver, *, delivered: bool
) -> None:
    receiver.script(weights={"reply_lost": 1})
    async with publisher(servers, tmp_path, **HOOKS) as running:
        await running.send(target_changed(hook(receiver)), approved())

        async def told() -> bool:
            return len(receiver.lines()) > 0

        await until(told)
        receiver.script(weights={"400": 1})
        (unknown,) = await running.ended(1)
        assert isinstance(unknown, PublicationFailed)
        assert unknown.uncertain
        async with running.member() as reader, running.member(roles=("operator",)) as operator:
            (row,) = (await reader.get("/v1/publications", params={"state": "uncertain"})).json()["publications"]
            address = f"/v1/publications/{row['publication_id']}"
            word = {"delivered": delivered, "note": "Ines looked: it is in the winter folder"}
            assert (await reader.post(f"{address}/settle", json=word)).status_code == 403
            assert (await operator.post(f"{address}/settle", json={"delivered": True})).status_code == 422
            settled = (await operator.post(f"{address}/settle", json=word)).json()
            assert settled["state"] == ("delivered" if delivered else "failed")
            assert "Ines looked" in settled["detail"]
            (fact,) = await running.ended(1)
            assert fact.event_id != unknown.event_id
            if isinstance(fact, AssetPublished):
                assert delivered and fact.verified is Verified.STATED
            else:
                assert isinstance(fact, PublicationFailed) and not delivered and not fact.uncertain
            again = await operator.post(f"{address}/settle", json=word)
            assert (again.status_code, again.json()["title"]) == (409, "conflict")
            (act,) = (await operator.get("/v1/stages/publisher/actions")).json()["actions"]
            assert (act["action"], act["subject"]) == ("publication.settle", row["publication_id"])
            if not delivered:
                receiver.script(weights={"ok": 1})
                assert (await operator.post(f"{address}/retry")).status_code == 202
                (event,) = await running.ended(1)
                assert isinstance(event, AssetPublished)
                assert receiver.effects() == {row["publication_id"]: 1}


async def test_a_target_that_is_down_says_since_when_and_its_backlog_comes_in_order_of_approval(
    servers: EmbeddedServers, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.script(target="dam", down=True)
    names = [f"n{number}" for number in range(12)]
    one_at_a_time = {**HOOKS, "publish_concurrency": 4}  # a quarter of it for each target
    async with publisher(servers, tmp_path, **one_at_a_time) as running:
        await running.send(target_changed(hook(receiver)), target_changed(hook(receiver, "dam")))
        async with running.member() as member:
            for name in names:
                await running.send(approved(name))
                (event,) = await running.ended(1)
                assert event.target == "site"

            async def all_wait() -> bool:
                targets = {one["name"]: one for one in (await member.get("/v1/targets")).json()["targets"]}
                rows = (await member.get("/v1/publications", params={"target": "dam"})).json()["publications"]
                return bool(targets["dam"]["away"]) and {row["code"] for row in rows} == {"waiting"}

            await until(all_wait)
            receiver.script(target="dam", down=False)
            assert {event.target for event in await running.ended(len(names))} == {"dam"}
            targets = {one["name"]: one for one in (await member.get("/v1/targets")).json()["targets"]}
            assert targets["dam"]["away"] is None
    approved_in_order = [str(delivery(name, target="dam").publication_id) for name in names]
    probe, *backlog = [line["webhook_id"] for line in receiver.lines() if line["target"] == "dam" and line["effect"]]
    assert backlog == [publication for publication in approved_in_order if publication != probe]
    assert sorted([probe, *backlog]) == sorted(approved_in_order)
