"""Files made again and previewed over HTTP, by real children, for the workspace whose they are."""

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from deploy.local.servers import EmbeddedServers
from shared import identity
from shared.events import ApiKey, Event, ImageProcessed, WorkspaceChanged
from shared.library.documents import Recipe
from tests.live.items import published
from tests.live.stage import eventually
from tests.live.test_postprocess import ORIGINAL, Stage, running
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.images import WORKSPACE, generated
from tests.postprocess.pictures import grainy, written
from tests.postprocess.signed import OURS

WEB = recipe(rendition("small", 32, 32, format="webp"), rendition("wide", 64, 16))
WEB_2 = recipe(rendition("wide", 48, 12, quality=70), version=2)
STRANGER = UUID(int=5)
KEYS = {"mara": identity.new_key(), "rita": identity.new_key(), "stranger": identity.new_key()}
ROLES = {WORKSPACE: {"mara": "requester", "rita": "reader"}, STRANGER: {"stranger": "requester"}}


def knows(event: Event, *recipes: Recipe) -> list[Event]:
    """Who may call, and what each workspace's library has."""
    told: dict[str, Any] = {"occurred_at": event.occurred_at, "revision": 1}
    facts: list[Event] = []
    for workspace, people in ROLES.items():
        keys = [
            ApiKey(key_id=KEYS[who].key_id, sha256=KEYS[who].sha256, principal=who, roles=[role])
            for who, role in people.items()
        ]
        facts.append(WorkspaceChanged.of(cause_id="1", workspace=workspace, name=str(workspace), keys=keys, **told))
    return [*facts, *(published(recipe, workspace=WORKSPACE, at=event.occurred_at) for recipe in recipes)]


def caller(stage: Stage, who: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {KEYS[who].token}"}
    transport = httpx.ASGITransport(app=stage.service.app)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


async def test_files_are_made_again_and_previewed_over_http(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with running(servers, tmp_path, preview_children=1) as stage:
        event = generated(ORIGINAL, WEB)
        await stage.hold(event, ORIGINAL, WEB, WEB_2)
        await stage.send(event, *knows(event, WEB, WEB_2))
        fact = (await stage.outcomes(1))[event.job_id]
        assert isinstance(fact, ImageProcessed)
        assert fact.derivatives_manifest is not None
        known = "select (select count(*) from api_keys) + (select count(*) from library_items) = 5"
        await eventually(lambda: stage.service.database.fetchval(known))
        manifest, where = fact.derivatives_manifest.sha256, f"/v1/derivatives/{event.asset_id}"
        stored = {path.name for path in tmp_path.rglob("*")}

        async with caller(stage, "mara") as mara:
            answer = await mara.post(f"{where}/replay", json={"manifest_sha256": manifest})
            assert answer.status_code == 200, answer.text
            assert answer.json()["verdict"] == "exact"
            assert {file["rendition"] for file in answer.json()["files"]} >= {"small", "wide", "proxy-320"}
            shown = await mara.post(f"{where}/replay/shown", params={"manifest": manifest})
            assert shown.text.count('<span class="approved">exact</span>') == len(answer.json()["files"])

            asked = {"manifest": manifest, "recipe": "web@1", "rendition": "small"}
            preview = await mara.get(f"{where}/preview", params=asked)
            small = next(file for file in fact.files if file.rendition == "small")
            assert preview.content == await stage.service.blobs.get(small.key), "as the pipeline made it"
            assert preview.headers["content-type"] == "image/webp"
            assert preview.headers["cache-control"].startswith("private")
            again = await mara.get(f"{where}/preview", params=asked, headers={"If-None-Match": preview.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")

            for named in ("web@2", "web", WEB_2.pin().digest):  # it never ran over this asset
                newer = await mara.get(f"{where}/preview", params=asked | {"recipe": named, "rendition": "wide"})
                assert json.loads(newer.headers["calotype-made"])["width"] == 48
            line = await mara.get(f"{where}/preview/line", params=asked | {"recipe": "web@2", "rendition": "wide"})
            assert line.text.startswith("48 × 12 JPEG, quality 70")
            for wrong, code in (
                ({"recipe": "web@7"}, 404),
                ({"rendition": "hero"}, 404),
                ({"manifest": "0" * 64}, 404),
                ({"manifest": "x"}, 422),
            ):
                refused = await mara.get(f"{where}/preview", params=asked | wrong)
                assert (refused.status_code, refused.headers["content-type"]) == (code, "application/problem+json")

            draft = recipe(rendition("round", 20, 20, operations=[step("resize")]), channel="mail").model_dump(
                mode="json"
            )
            drawn = await mara.post(f"{where}/preview", params={"manifest": manifest, "rendition": "round"}, json=draft)
            assert json.loads(drawn.headers["calotype-made"])["width"] == 20
            draft["renditions"][0]["operations"][0]["op"] = "resise"
            odd = await mara.post(f"{where}/preview", params={"manifest": manifest, "rendition": "round"}, json=draft)
            assert odd.status_code == 422
            assert "resise" in odd.json()["detail"]

        assert {path.name for path in tmp_path.rglob("*")} == stored, "nothing is stored by looking"
        async with caller(stage, "rita") as rita:
            assert (await rita.get(f"{where}/preview", params=asked)).status_code == 200
            assert (await rita.post(f"{where}/replay", json={"manifest_sha256": manifest})).status_code == 403
        async with caller(stage, "stranger") as stranger:
            assert (await stranger.get(f"{where}/preview", params=asked)).status_code == 404
            assert (await stranger.post(f"{where}/replay", json={"manifest_sha256": manifest})).status_code == 404


async def test_signed_files_are_compared_by_what_was_signed_and_nobody_signs_again(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    keys = OURS()
    (tmp_path / "authority.pem").write_text(keys.authority)
    signing = {"signing_certificates": keys.certificates, "signing_key": keys.key}
    tight = recipe(rendition("tight", 64, 64, quality=95, max_bytes=17_500))
    grain = written(grainy(128, 128))
    async with running(
        servers, tmp_path / "store", preview_children=1, trust_anchors=tmp_path / "authority.pem", **signing
    ) as stage:
        event = generated(grain, tight)
        await stage.hold(event, grain, tight)
        await stage.send(event, *knows(event, tight))
        fact = (await stage.outcomes(1))[event.job_id]
        assert isinstance(fact, ImageProcessed)
        assert fact.derivatives_manifest is not None
        known = "select (select count(*) from api_keys) + (select count(*) from library_items) = 4"
        await eventually(lambda: stage.service.database.fetchval(known))
        made = next(file for file in fact.files if file.rendition == "tight")
        assert made.unsigned_sha256 is not None
        manifest, where = fact.derivatives_manifest.sha256, f"/v1/derivatives/{event.asset_id}"
        async with caller(stage, "mara") as mara:
            answer = (await mara.post(f"{where}/replay", json={"manifest_sha256": manifest})).json()
            assert {file["rendition"]: file["verdict"] for file in answer["files"]} == {
                "proxy-320": "exact", "original": "exact", "tight": "exact"
            }  # fmt: skip
            asked = {"manifest": manifest, "recipe": "web@1", "rendition": "tight"}
            preview = await mara.get(f"{where}/preview", params=asked)
            assert hashlib.sha256(preview.content).hexdigest() == made.unsigned_sha256, "the same room for credentials"
