"""Providers of every kind, called by the stage itself; and a prediction that outlives the workers it was ordered by."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import sys
import time
from pathlib import Path

import httpx
import pytest

from services.inference import hooks
from services.inference.backends import replicate
from shared import ids
from shared.events import ImageGenerated, Lane, Parameters
from shared.library.documents import Backend, RouteRule
from tests.inference.prompts import assembled, routes
from tests.live.calling import Scene
from tests.live.stage import eventually
from tests.servers import bedrock
from tests.servers.provider import Provider
from tests.servers.replicate import Replicate
from tests.servers.stability import Stability

SERVERS: dict[str, type[Provider]] = {
    "openai": Provider, "stability": Stability, "replicate": Replicate, "bedrock": bedrock.Bedrock
}  # fmt: skip
MODELS = {
    "openai": "gpt-image-1",
    "stability": "core",
    "replicate": "stability-ai/sdxl",
    "bedrock": "stability.stable-image-core-v1:1",
}


async def test_a_prediction_is_taken_up_by_whoever_takes_its_job_over_and_is_paid_once(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first worker is killed while it is made, the second told to end; the third has the picture."""
    call = {"provider": "cog", "timeout_seconds": 60}
    table = routes("replicate", model="stability-ai/sdxl", price="0.04", currency="EUR", call=call)
    event = assembled()
    attempt = ids.attempt_id(event.job_id, 1, 1)
    with Replicate(tmp_path / "predictions") as server:
        server.script.change({"hold": True})
        providers = json.dumps({"cog": {"kind": "replicate", "url": server.url, "key": "r8-test"}})
        monkeypatch.setenv("CALOTYPE_PROVIDERS", providers)
        scene.environment["CALOTYPE_PROVIDERS"] = providers
        async with scene.service("inference", "consume,http") as front:
            await scene.begin(front, table)
            await scene.send(front, event)
            await eventually(lambda: front.database.fetchval("select count(*) from work"))
            first = await inference_of_its_own(scene)
            kept = "select provider_request_id from attempts where state = 'started'"
            prediction = await eventually(lambda: front.database.fetchval(kept))
            first.kill()
            await first.wait()
        held = "select count(*) = 1 from work where epoch = 2 and holder is not null"
        async with scene.service("inference") as second:
            await eventually(lambda: second.database.fetchval(held))
            looks = len(server.looked)
            await eventually(lambda: asyncio.sleep(0, len(server.looked) > looks))
            worker, _ = second.workers
            await worker.stop(within=0.2)
        server.script.change({"hold": False})
        async with scene.service("inference") as third:
            (made,) = await scene.said(ImageGenerated)
            (told,) = made.attempts
            assert (told.attempt_id, told.state, str(told.cost)) == (attempt, "succeeded", "0.04")
            assert (told.provider_request_id, told.price_list) == (prediction, "routes@1")
            rows = await third.database.fetch("select attempt_id, state, provider_request_id from attempts")
            assert [tuple(row) for row in rows] == [(attempt, "succeeded", prediction)]
            assert await third.blobs.get(made.original.key)
        assert len(server.calls()) == len(server.charges()) == 1
        assert server.charges()[0]["attempt_id"] == str(attempt)


async def test_word_from_the_provider_ends_a_long_wait_in_another_process_and_is_believed_in_nothing_else(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is told has no worker, and the worker looks by itself once an hour."""
    monkeypatch.setattr(replicate, "FIRST_LOOK", 3600.0)
    monkeypatch.setattr(hooks, "LOOK_EVERY", 0.05)
    key = b"what signs for this account, 32 b"
    event = assembled()
    attempt = ids.attempt_id(event.job_id, 1, 1)
    with Replicate(tmp_path / "predictions") as server:
        server.script.change({"hold": True})
        told = {"webhook_url": "http://127.0.0.1:9", "webhook_secret": f"whsec_{base64.b64encode(key).decode()}"}
        cog = {"kind": "replicate", "url": server.url, "key": "r8-test", **told}
        monkeypatch.setenv("CALOTYPE_PROVIDERS", json.dumps({"cog": cog}))
        async with scene.service("inference", "consume,http") as front, scene.service("inference", "work") as worker:
            await scene.begin(front, routes("replicate", model="a/b", call={"provider": "cog", "timeout_seconds": 600}))
            await scene.send(front, event)
            await eventually(lambda: front.database.fetchval("select provider_request_id from attempts"))
            says = json.dumps({"status": "succeeded", "output": ["https://elsewhere.example/other.png"]}).encode()

            async def tell(*, age: float = 0.0, account: str = "cog", key: bytes = key) -> int:
                """Signed as Replicate describes it."""
                at = str(int(time.time() - age))
                digest = hmac.digest(key, f"msg_1.{at}.".encode() + says, hashlib.sha256)
                headers = {"webhook-id": "msg_1", "webhook-timestamp": at}
                headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
                path = f"/v1/hooks/replicate/{account}/{attempt}"
                async with httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=front.app), base_url="http://x"
                ) as outside:
                    return (await outside.post(path, content=says, headers=headers)).status_code

            refused = [tell(key=b"another"), tell(account="acme"), tell(age=400), tell(age=-400)]
            assert [await each for each in refused] == [401] * 4
            assert not server.looked

            async def looked() -> bool:
                """The worker may not listen yet: its own connection comes a moment after it began."""
                return await tell() == 204 and bool(server.looked)

            await eventually(looked)
            assert not await front.database.fetchval("select count(*) from work where outcome = 'made'")
            server.script.change({"hold": False})
            (image,) = await scene.said(ImageGenerated)
            assert await worker.blobs.get(image.original.key)
        assert len(server.charges()) == 1


async def test_an_image_of_every_kind_of_provider_is_stored_and_booked_and_no_key_is_told(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "a-key-that-nobody-may-see"
    servers = {kind: server(tmp_path / kind) for kind, server in SERVERS.items()}
    providers = {kind: {"kind": kind, "url": server.url, "key": key} for kind, server in servers.items()}
    providers["bedrock"] |= {"key": bedrock.SECRET, "key_id": bedrock.KEY_ID, "region": bedrock.REGION}
    monkeypatch.setenv("CALOTYPE_PROVIDERS", json.dumps(providers))
    table = routes("proof")
    called = [
        Backend(name=kind, kind=kind, visibility="cloud", model=model, price="0.07", call={"provider": kind})
        for kind, model in MODELS.items()
    ]
    rule = RouteRule(id="any", lane=Lane.STANDARD, backends=list(MODELS))
    table = table.model_copy(update={"backends": called, "rules": [rule]})
    events = [
        assembled(parameters=Parameters(width=64, height=64, steps=4, guidance=5.0, model=model))
        for model in MODELS.values()
    ]
    with contextlib.ExitStack() as listening:
        for server in servers.values():
            listening.enter_context(server)
        async with scene.service("inference") as inference:
            await scene.begin(inference, table)
            await scene.send(inference, *events)
            await eventually(
                lambda: inference.database.fetchval("select count(*) = 4 from work where outcome = 'made'")
            )
            rows = await inference.database.fetch("select * from attempts order by backend")
            assert [(row["backend"], str(row["cost"]), row["price_list"]) for row in rows] == [
                (kind, "0.07", "routes@1") for kind in sorted(MODELS)
            ]
            assert all(row["provider_request_id"] and row["latency_seconds"] for row in rows)
            made = await scene.said(ImageGenerated)
            for each in made:
                assert await inference.blobs.get(each.original.key)
            manifests = [await inference.blobs.get(each.manifest.key) for each in made]
    assert {len(server.charges()) for server in servers.values()} == {1}
    told = [*map(str, map(dict, rows)), *map(str, made), *map(str, manifests), *capfd.readouterr()]
    assert not [words for words in told for secret in (key, bedrock.SECRET) if secret in words]


async def inference_of_its_own(scene: Scene) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.inference", "--roles", "consume,work"),
        env={**os.environ, **scene.environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
