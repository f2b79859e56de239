"""Pictures that requests start from, on a real Kafka, a real Postgres and a real store."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from PIL import Image

from deploy.local.servers import EmbeddedServers
from services.intake.http_sources import MAX_BYTES
from shared import ids
from shared.blobs import blob_key
from shared.errors import BlobMissing
from shared.events import RequestAccepted, RequestRejected, SourceRole
from shared.postgres import workspace_transaction
from tests.live.intaking import GOOD, Intake, intake_on
from tests.postprocess.pictures import RED, WHITE, plain, read, written


async def add(intake: Intake, data: bytes, **headers: str) -> httpx.Response:
    return await intake.client.post("/v1/sources", content=data, headers=headers, timeout=60)


async def test_a_picture_is_stored_once_under_what_it_shows(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        first = await add(intake, written(plain(40, 30), "JPEG", quality=95))
        assert first.status_code == 201, first.text
        told = first.json()
        assert (told["media_type"], told["width"], told["height"]) == ("image/png", 40, 30)
        assert UUID(told["source_id"]) == ids.source_id(intake.workspace, told["sha256"])
        stored = await intake.service.blobs.get(f"ws/{intake.workspace}/{told['source_id']}/{told['sha256']}.png")
        assert hashlib.sha256(stored).hexdigest() == told["sha256"] and read(stored).size == (40, 30)

        again = await add(intake, written(plain(40, 30), "JPEG", quality=95))
        assert (again.status_code, again.json()) == (200, told)
        together = await asyncio.gather(*(add(intake, written(plain(9, 9))) for _ in range(4)))
        assert sorted(answer.status_code for answer in together) == [200, 200, 200, 201]


async def test_a_source_is_of_its_workspace_alone(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        first, ours = await add(intake, written(plain())), intake.workspace
        await intake.found("Another")
        second = await add(intake, written(plain()))
        assert second.status_code == 201 and second.json()["sha256"] == first.json()["sha256"]
        assert second.json()["source_id"] != first.json()["source_id"]
        for workspace, seen in ((ours, 1), (intake.workspace, 1), (uuid4(), 0)):
            pool = intake.service.database
            async with workspace_transaction(pool, stage="intake", workspace=workspace) as connection:
                assert await connection.fetchval("select count(*) from sources") == seen


async def test_a_deleted_source_is_missing_with_its_bytes_until_it_is_added_again(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found("Another")
        theirs = (await add(intake, written(plain(7, 7)))).json()["source_id"]
        await intake.found()
        await intake.publish()
        gone, stays = [(await add(intake, written(plain(40, 30, tint)))).json() for tint in (RED, WHITE)]
        kept = (await intake.client.get("/v1/sources")).json()
        assert [each["source_id"] for each in kept["sources"]] == [stays["source_id"], gone["source_id"]]
        assert (kept["used"], kept["limit"]) == (sum(each["bytes"] for each in kept["sources"]), None)
        first = (await intake.client.get("/v1/sources", params={"limit": 1})).json()
        rest = (await intake.client.get("/v1/sources", params={"limit": 1, "after": first["next"]})).json()
        assert [*first["sources"], *rest["sources"]] == kept["sources"] and rest["next"] is None

        key = f"ws/{intake.workspace}/{gone['source_id']}/{gone['sha256']}.png"
        for _ in range(2):
            assert (await intake.client.delete(f"/v1/sources/{gone['source_id']}")).status_code == 204
            with pytest.raises(BlobMissing):
                await intake.service.blobs.get(key)
        assert [(await intake.client.delete(f"/v1/sources/{one}")).status_code for one in (theirs, uuid4())] == [
            404
        ] * 2
        refused = await intake.submit("one", sources=[{"source": gone["source_id"]}])
        assert refused.json()["type"].endswith(":missing_source")
        assert (await intake.submit("two", sources=[{"source": stays["source_id"]}])).status_code == 202
        (act,) = (await intake.client.get("/v1/stages/intake/actions", params={"action": "source"})).json()["actions"]
        assert (act["action"], act["subject"]) == ("source.delete", gone["source_id"])

        back = await add(intake, written(plain(40, 30, RED)))
        assert (back.status_code, back.json()) == (201, gone)
        assert await intake.service.blobs.get(key)
        assert (await intake.submit("one", sources=[{"source": gone["source_id"]}])).status_code == 202


async def test_a_picture_that_is_added_while_its_bytes_are_removed_has_them_again(
    servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They still lay there when they were stored, so nothing was written."""
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        told = (await add(intake, written(plain()))).json()
        blobs = intake.service.blobs
        put, remove, stored = blobs.put, blobs.delete, asyncio.Event()
        again: list[asyncio.Task[httpx.Response]] = []

        async def putting(key: str, data: bytes, *, media_type: str) -> None:
            await put(key, data, media_type=media_type)
            stored.set()

        async def removing(key: str) -> None:
            again.append(asyncio.create_task(add(intake, written(plain()))))
            await stored.wait()
            await remove(key)

        monkeypatch.setattr(blobs, "put", putting)
        monkeypatch.setattr(blobs, "delete", removing)
        assert (await intake.client.delete(f"/v1/sources/{told['source_id']}")).status_code == 204
        assert (await again[0]).status_code == 201
        assert await blobs.get(f"ws/{intake.workspace}/{told['source_id']}/{told['sha256']}.png")


async def test_sources_take_no_more_than_their_workspace_may_keep(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found(limits={"source_bytes": 250})  # of pictures of 70 to 80 bytes
        first = await add(intake, written(plain(1, 1)))
        assert first.status_code == 201
        together = await asyncio.gather(*(add(intake, written(plain(size, 1))) for size in range(2, 8)))
        kept = (await intake.client.get("/v1/sources")).json()
        assert kept["limit"] == 250 >= kept["used"] and len(kept["sources"]) == 3
        assert sorted(answer.status_code for answer in together) == [201] * 2 + [429] * 4
        over = next(answer.json() for answer in together if answer.status_code == 429)
        assert (
            over["type"].endswith(":quota_exceeded") and "source list" in over["remedy"] and "of 250" in over["detail"]
        )
        assert (await add(intake, written(plain(1, 1)))).status_code == 200, "what is there already takes nothing more"
        await intake.client.delete(f"/v1/sources/{first.json()['source_id']}")
        assert (await add(intake, written(plain(9, 1)))).status_code == 201


async def test_what_is_no_picture_is_refused_by_name_and_requests_go_on(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        bad = {
            written(plain())[:60]: (422, "damaged_picture"),
            written(plain(), "GIF"): (415, "unsupported_media_type"),
            written(Image.new("1", (8000, 5001))): (422, "too_many_pixels"),
            written(plain()) + b"<script >": (422, "disguised"),
            b"": (422, "empty"),
            bytes(MAX_BYTES + 1): (413, "too_large"),
        }
        answers = await asyncio.gather(*(add(intake, data) for data in bad), intake.submit("beside"))
        assert answers.pop().status_code == 202
        for answer, (status, code) in zip(answers, bad.values(), strict=True):
            problem: dict[str, Any] = answer.json()
            assert (answer.status_code, problem["type"]) == (status, f"urn:calotype:problem:{code}")
            assert problem["detail"] and problem["where"] == "body" and problem["remedy"]
        assert not list((tmp_path / "blobs").glob(f"ws/{intake.workspace}/*/*.png"))
        assert (await add(intake, written(plain(colour=RED)))).status_code == 201


async def test_more_pictures_at_once_than_fit_into_memory_are_put_off(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        answers = await asyncio.gather(*(add(intake, written(plain(n + 1, 1))) for n in range(20)))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {201, 429}
        assert all(answer.json()["remedy"] for answer in answers if answer.status_code == 429)


async def test_without_the_right_to_submit_nothing_is_read(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        key = await intake.client.post("/v1/keys", json={"principal": "mara", "roles": ["reviewer"]})
        assert (await add(intake, written(plain()), Authorization=f"Bearer {key.json()['token']}")).status_code == 403
        assert (await add(intake, written(plain()), Authorization="Bearer nobody")).status_code == 401


async def test_a_request_names_its_sources_over_http_on_kafka_and_in_a_file(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        photo, mask = [(await add(intake, written(plain(40, 30, tint)))).json() for tint in (RED, WHITE)]
        naming = [{"source": photo["source_id"]}, {"source": mask["source_id"], "role": "mask"}]
        assert (await intake.submit("http", sources=naming, strength=0.4)).status_code == 202
        await intake.ask("kafka", GOOD | {"sources": naming, "strength": 0.4})
        header = "key,campaign,asset_type,sku,setting,headline,sources,strength"
        cells = f"{photo['source_id']}|mask:{mask['source_id']}"
        batch = await intake.expanded(
            await intake.send_file(f"{header}\na,winter,tile,OIL-100,linen,Slow down,{cells},0.4\n")
        )
        assert (batch["accepted"], batch["refused"]) == (1, 0)
        for fact in await intake.said(RequestAccepted, 3):
            assert fact.strength == 0.4
            for use, role, told in zip(fact.sources, SourceRole, (photo, mask), strict=False):
                assert (use.role, str(use.source_id), use.sha256) == (role, told["source_id"], told["sha256"])
                assert (use.media_type, use.width, use.height) == ("image/png", 40, 30)
                assert await intake.service.blobs.get(use.key)


async def test_a_child_of_nothing_or_of_another_workspaces_asset_is_refused_at_once(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found("Another")
        theirs = await an_asset(intake)
        await intake.found()
        await intake.publish()
        mine, source = await an_asset(intake), (await add(intake, written(plain()))).json()["source_id"]
        for place, parent in enumerate((str(theirs), str(uuid4()), source)):
            refused = await intake.submit(f"http {place}", parent_asset_id=parent)
            assert refused.status_code == 422 and refused.json()["type"].endswith(":missing_parent")
            assert refused.json()["where"] == "parent_asset_id" and "GET /v1/assets" in refused.json()["remedy"]
            await intake.ask(f"kafka {place}", GOOD | {"parent_asset_id": parent})
        for fact in await intake.said(RequestRejected, 3):
            assert [(problem.code, problem.where) for problem in fact.problems] == [
                ("missing_parent", "parent_asset_id")
            ]
        rows = [GOOD | {"key": key, "parent_asset_id": str(of)} for key, of in (("a", theirs), ("b", mine))]
        looked = await intake.client.post(
            "/v1/batches/preview?name=more",
            content="".join(f"{json.dumps(row)}\n" for row in rows),
            headers={"Content-Type": "application/jsonl"},
        )
        (fault,) = looked.json()["faults"]
        assert (fault["code"], fault["lines"], looked.json()["rows"]) == ("missing_parent", [1], 2)
        assert (await intake.submit("http", parent_asset_id=str(mine))).status_code == 202
        await intake.ask("kafka", GOOD | {"parent_asset_id": str(mine)})
        assert [fact.brief.parent_asset_id for fact in await intake.said(RequestAccepted, 2)] == [mine, mine]


async def an_asset(intake: Intake) -> UUID:
    """As inference stores one, before it tells of it: the manifest, which names it."""
    asset, manifest = uuid4(), b"{}"
    key = blob_key(intake.workspace, asset, hashlib.sha256(manifest).hexdigest(), "json")
    await intake.service.blobs.put(key, manifest, media_type="application/json")
    return asset


async def test_a_source_that_is_not_there_or_of_another_workspace_is_missing(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found("Another")
        theirs = (await add(intake, written(plain()))).json()["source_id"]
        await intake.found()
        await intake.publish()
        for place, source in enumerate((theirs, str(uuid4()))):
            naming = [{"source": source}]
            refused = await intake.submit(f"http {place}", sources=naming)
            assert refused.status_code == 422 and refused.json()["type"].endswith(":missing_source")
            assert refused.json()["where"] == "sources[0].source" and "calotype source add" in refused.json()["remedy"]
            await intake.ask(f"kafka {place}", GOOD | {"sources": naming})
        for fact in await intake.said(RequestRejected, 2):
            (problem,) = fact.problems
            assert (problem.code, problem.where) == ("missing_source", "sources[0].source")
        header = "key,campaign,asset_type,sku,setting,headline,sources"
        looked = await intake.client.post(
            "/v1/batches/preview",
            content=f"{header}\na,winter,tile,OIL-100,linen,Slow down,{theirs}\n",
            headers={"Content-Type": "text/csv"},
        )
        (fault,) = looked.json()["faults"]
        assert (fault["code"], fault["column"]) == ("missing_source", "sources")
        assert not await intake.all_said(RequestAccepted)
