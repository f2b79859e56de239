"""Stage 6 on a real Kafka, a real Postgres and a real disk."""

import json
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.servers import EmbeddedServers
from services.publisher.handler import apply_approvals, apply_targets
from services.publisher.worker import exhausted
from shared.events import (
    AssetApproved,
    AssetPublished,
    Confidentiality,
    LibraryItemChanged,
    PublicationFailed,
    SourceType,
)
from shared.kafka import Producer
from shared.leases import Worker
from shared.outbox import Outbox
from shared.postgres import open_pool
from tests.live.publishing import hold, publisher, settings_at, target_changed, until
from tests.live.stage import new_database
from tests.publisher.builders import APPROVED_AT, FILES, WORKSPACE, approved, delivery, target_document


async def test_an_approved_asset_is_published_once_with_a_receipt_that_its_workspace_reads(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with publisher(servers, tmp_path) as running:
        asset = await hold(running.service.blobs, approved())
        asset.__dict__["traceparent"] = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
        await running.send(target_changed(target_document()), asset, asset)
        await running.send(asset)
        (event,) = await running.ended(1)
        assert isinstance(event, AssetPublished)
        assert event.cause_id == asset.event_id
        assert event.traceparent is not None
        assert event.traceparent.split("-")[1] == "ab" * 16
        assert {receipt.name: receipt.sha256 for receipt in event.receipts}.items() >= {
            file.name: file.sha256 for file in asset.files
        }.items()
        (place,) = [path.parent for path in running.folder.rglob("*.json")]
        assert event.location == place.as_uri()
        assert json.loads((place / "winter-home-a.json").read_bytes())["asset_id"] == str(asset.asset_id)
        assert {path.read_bytes() for path in place.glob("*.png")} == set(FILES.values())

        async with running.member() as member, running.member(uuid4()) as stranger:
            (row,) = (await member.get("/v1/publications")).json()["publications"]
            assert row["publication_id"] == str(event.publication_id)
            assert (row["state"], row["attempts"], row["location"]) == ("delivered", 1, event.location)
            assert [receipt["sha256"] for receipt in row["receipts"]] == [r.sha256 for r in event.receipts]
            address = f"/v1/publications/{event.publication_id}"
            assert (await member.get(address)).json() == row
            (target,) = (await member.get("/v1/targets")).json()["targets"]
            assert (target["name"], target["publications"]) == ("site", {"delivered": 1})

            assert (await stranger.get("/v1/publications")).json() == {"publications": [], "next": None}
            assert (await stranger.get(address)).status_code == 404
            assert (await stranger.get("/v1/targets")).json() == {"targets": []}

        # Heard again after all that: the next end is another asset's.
        other = await hold(running.service.blobs, approved("b"))
        await running.send(asset, other)
        assert [ended.asset_id for ended in await running.ended(1)] == [other.asset_id]


async def test_what_a_target_may_not_take_fails_by_name_and_nothing_is_written(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with publisher(servers, tmp_path) as running:
        secret = await hold(running.service.blobs, approved("a", confidentiality=Confidentiality.CONFIDENTIAL))
        proof = await hold(running.service.blobs, approved("b", source_type=SourceType.ALGORITHMIC))
        lost = approved("c")
        await running.send(target_changed(target_document()), secret, proof, lost)
        ended = {event.asset_id: event for event in await running.ended(3)}
        codes = {}
        for asset in (secret, proof, lost):
            event = ended[asset.asset_id]
            assert isinstance(event, PublicationFailed)
            assert event.remedy
            codes[asset.asset_id] = event.code
        assert list(codes.values()) == ["above_ceiling", "proof", "blob_missing"]
        assert [path for path in running.folder.rglob("*") if path.is_file()] == []
        async with running.member() as member:
            rows = (await member.get("/v1/publications", params={"state": "failed"})).json()["publications"]
            assert {row["asset_id"]: row["code"] for row in rows} == {str(a): code for a, code in codes.items()}


async def test_what_failed_is_published_after_it_was_mended_and_retried(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with publisher(servers, tmp_path) as running:
        lost, secret = approved("a"), approved("b", confidentiality=Confidentiality.CONFIDENTIAL)
        await hold(running.service.blobs, secret)
        await running.send(target_changed(target_document()), lost, secret)
        first = {event.asset_id: event for event in await running.ended(2)}
        assert {type(event) for event in first.values()} == {PublicationFailed}
        async with running.member() as reader, running.member(roles=("operator",)) as operator:
            addresses = {
                asset.asset_id: f"/v1/publications/{first[asset.asset_id].publication_id}" for asset in (lost, secret)
            }
            refused = await reader.post(f"{addresses[lost.asset_id]}/retry")
            assert (refused.status_code, refused.json()["title"]) == (403, "forbidden")
            for _ in range(2):  # retried too early, it fails again, and that is another fact
                answer = await operator.post(f"{addresses[lost.asset_id]}/retry")
                assert (answer.status_code, answer.json()["state"]) == (202, "pending")
                (again,) = await running.ended(1)
                assert isinstance(again, PublicationFailed)
                assert again.event_id not in {event.event_id for event in first.values()}
            await hold(running.service.blobs, lost)
            raised = target_document(version=2, ceiling=Confidentiality.CONFIDENTIAL)
            await running.send(target_changed(raised))

            async def heard() -> bool:
                return bool((await reader.get("/v1/targets")).json()["targets"][0]["version"] == 2)

            await until(heard)
            for asset in (lost, secret):
                assert (await operator.post(f"{addresses[asset.asset_id]}/retry")).status_code == 202
            assert {type(event) for event in await running.ended(2)} == {AssetPublished}
            late = await operator.post(f"{addresses[lost.asset_id]}/retry")
            assert (late.status_code, late.json()["detail"]) == (409, "this publication is delivered")
            stranger = await operator.post(f"/v1/publications/{uuid4()}/retry")
            assert stranger.status_code == 404
            assert (await reader.get(addresses[lost.asset_id])).json()["run"] == 4


async def test_a_target_that_is_away_delays_nobody_and_its_backlog_is_published_once_on_return(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with publisher(servers, tmp_path) as running:
        in_the_way = running.folder / str(WORKSPACE) / "dam"
        in_the_way.parent.mkdir(parents=True)
        in_the_way.write_text("no folder can be made here")
        dam = target_document("dam", settings={"path": "dam"})
        assets = [await hold(running.service.blobs, approved(f"n{number}")) for number in range(5)]
        await running.send(target_changed(target_document()), target_changed(dam), *assets)
        assert {(event.target, type(event)) for event in await running.ended(5)} == {("site", AssetPublished)}
        async with running.member() as member:
            waiting = {"target": "dam", "state": "pending"}

            async def all_wait() -> bool:
                rows = (await member.get("/v1/publications", params=waiting)).json()["publications"]
                return [row["code"] for row in rows] == ["waiting"] * 5 and all("dam" in row["detail"] for row in rows)

            await until(all_wait)
        in_the_way.unlink()
        back = await running.ended(5)
        assert {(event.target, type(event)) for event in back} == {("dam", AssetPublished)}
        assert {event.asset_id for event in back} == {asset.asset_id for asset in assets}


async def test_publications_are_listed_by_filter_and_page(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with publisher(servers, tmp_path) as running:
        assets = [await hold(running.service.blobs, approved(f"n{number}")) for number in range(5)]
        await running.send(target_changed(target_document()), target_changed(target_document("dam")), *assets)
        await running.ended(10)
        async with running.member() as member:
            seen: list[str] = []
            params = {"limit": "4"}
            while True:
                page = (await member.get("/v1/publications", params=params)).json()
                seen += [row["publication_id"] for row in page["publications"]]
                if page["next"] is None:
                    break
                params["cursor"] = page["next"]
            wanted = {
                str(delivery(f"n{n}", target=target).publication_id) for n in range(5) for target in ("site", "dam")
            }
            assert len(seen) == 10
            assert set(seen) == wanted
            for name in ("request", "job", "asset", "asset_version"):
                found = await member.get(
                    "/v1/publications", params={name: str(getattr(assets[0], f"{name}_id")), "target": "dam"}
                )
                assert [row["asset_id"] for row in found.json()["publications"]] == [str(assets[0].asset_id)]
            for wrong in ({"state": "done"}, {"cursor": "nonsense"}, {"limit": 0}, {"colour": "red"}, {"job": "x"}):
                refused = await member.get("/v1/publications", params=wrong)
                assert refused.status_code == 422
                assert refused.headers["content-type"] == "application/problem+json"
                assert refused.json()["where"]


@pytest.mark.parametrize("batched", [False, True])
async def test_the_same_publications_follow_in_whatever_order_the_facts_come(
    servers: EmbeddedServers, tmp_path: Path, *, batched: bool
) -> None:
    settings = settings_at(servers, await new_database(servers), tmp_path)
    pool = await open_pool(settings.database_url.get_secret_value(), stage="publisher")
    outbox = Outbox(pool, Producer(settings))
    worker = Worker(stage="publisher", outbox=outbox, pool=pool, kinds=["publish"], exhausted=exhausted)
    hour = timedelta(hours=1)
    for order in permutations(range(4)):
        workspace = uuid4()
        before = approved("before", workspace=workspace, occurred_at=APPROVED_AT - hour, asset_version_id=uuid4())
        after = approved("after", workspace=workspace, occurred_at=APPROVED_AT + hour, asset_version_id=uuid4())
        first, second = target_document(), target_document(version=2, ceiling=Confidentiality.CONFIDENTIAL)
        facts = (
            before,
            after,
            target_changed(first, workspace=workspace),
            target_changed(second, workspace=workspace, at=APPROVED_AT + 2 * hour),
        )
        arriving = [facts[place] for place in order]
        for group in [arriving] if batched else [[fact] for fact in arriving]:
            assets = [fact for fact in group if isinstance(fact, AssetApproved)]
            changes = [fact for fact in group if isinstance(fact, LibraryItemChanged)]
            if assets:
                async with outbox.transaction() as transaction:
                    await apply_approvals(transaction, assets, worker=worker)
            if changes:
                async with outbox.transaction() as transaction:
                    await apply_targets(transaction, changes, worker=worker)
        published = await pool.fetch("select asset_version_id from publications where workspace = $1", workspace)
        assert [row[0] for row in published] == [after.asset_version_id]
        known = await pool.fetch("select version, since from targets where workspace = $1", workspace)
        assert [tuple(row) for row in known] == [(2, APPROVED_AT)]
    assert await pool.fetchval("select count(*) from work where kind = 'publish'") == 24
    await pool.close()
