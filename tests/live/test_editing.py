"""A picture and a mask on their whole way: added, named, given to a provider, and named again by the manifest."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deploy.local.servers import EmbeddedServers
from tests.live.pipeline import LIBRARY, Studio, ask, pipeline
from tests.live.stage import eventually
from tests.postprocess.pictures import plain, written
from tests.servers.provider import NAME, Provider, inference_environment

ROUTES: dict[str, Any] = {
    "kind": "routes", "name": "default", "version": 2, "owner": "tests",
    "backends": [
        {
            "name": "editor", "kind": "openai", "visibility": "cloud", "model": "m", "price": "0.04",
            "capabilities": ["text-to-image", "image-to-image", "inpainting"], "call": {"provider": NAME},
        },
        {"name": "proof", "kind": "proof", "visibility": "private", "price": "0"},
    ],
    "rules": [{"id": "all", "lane": "standard", "backends": ["proof", "editor"]}],
}  # fmt: skip


async def add(studio: Studio, data: bytes) -> dict[str, Any]:
    return dict(await studio.call("POST", "/v1/sources", content=data))


@pytest.mark.timeout(240)
async def test_an_image_is_made_of_a_picture_and_a_mask_that_were_added(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    with Provider(tmp_path) as provider, pipeline(servers, **inference_environment(provider.url)) as running:
        async with running.studio() as studio:
            await studio.call("POST", "/v1/library", json={"documents": [*LIBRARY, ROUTES]})

            async def known() -> bool:
                return "editor" in (await studio.call("POST", "/v1/explain-route", json={}))["refused"]

            await eventually(known, within=60)
            photo = await add(studio, written(plain(64, 64), "JPEG"))
            mask = await add(studio, written(Image.linear_gradient("L").resize((64, 64))))
            naming = [{"source": photo["source_id"]}, {"source": mask["source_id"], "role": "mask"}]
            headers = {"Idempotency-Key": "edited"}
            body = ask("edited") | {"sources": naming, "strength": 0.5}
            edited = await studio.call("POST", "/v1/requests", json=body, headers=headers)
            await studio.submit("drawn")

            async def over() -> bool:
                statuses = await studio.statuses()
                assert statuses.keys() <= {"pending", "running", "completed"}, await studio.every("/v1/jobs", "jobs")
                return statuses == {"completed": 2}

            await eventually(over, within=90)
            (call,) = provider.calls()
            assert call["pictures"] == 2, (
                "the other one was drawn by what starts from words alone, which the rule prefers"
            )
            (asset,) = await studio.every("/v1/assets", "assets", request=edited["request_id"])
            told = await studio.call("GET", f"/v1/assets/{asset['asset_id']}")
            assert told["source_type"] == "compositeWithTrainedAlgorithmicMedia"
            assert "cannot do image-to-image, inpainting" in told["route"]["refused"]["proof"]
            manifest = (await studio.admin.get(told["manifest"]["url"], follow_redirects=True)).json()
            assert [(use["role"], use["sha256"]) for use in manifest["sources"]] == [
                ("reference", photo["sha256"]),
                ("mask", mask["sha256"]),
            ]
            assert manifest["strength"] == 0.5
