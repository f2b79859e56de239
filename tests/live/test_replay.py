"""Images made again from their manifests: a real renderer, a real (small, random) model, providers that count."""

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from services.inference import accounts, hooks, replays, unclaimed
from services.inference.app import open_backends
from services.inference.settings import InferenceSettings
from shared import identity
from shared.events import (
    ApiKey,
    ImageGenerated,
    Limits,
    LoraUse,
    Parameters,
    PromptAssembled,
    SourceUse,
    WorkspaceChanged,
)
from shared.leases import Leased
from shared.library.documents import Routes
from shared.outages import Pace
from shared.service import Service
from tests.inference.prompts import NOW, WORKSPACE, assembled, routes, source
from tests.inference.tiny import tiny_model
from tests.live.calling import Scene
from tests.live.stage import eventually
from tests.servers.replicate import Replicate

ROOT = Path(__file__).parents[2]
STRANGER = UUID(int=5)
KEYS = {"mara": identity.new_key(), "stranger": identity.new_key()}
SMALL = Parameters(width=64, height=64, steps=4, guidance=5.0)


@pytest.fixture
def scene(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Small, and soon to take over what a worker has lost."""
    for name, value in {"CALOTYPE_PROOF_CHILDREN": "1", "CALOTYPE_LEASE_SECONDS": "1.5"}.items():
        monkeypatch.setenv(name, value)
        scene.environment[name] = value
    return scene


class Desk:
    """A requester and a stranger in front of one inference."""

    def __init__(self, scene: Scene, service: Service) -> None:
        self.scene = scene
        self.service = service
        self.people: dict[UUID, list[ApiKey]] = {}
        self.revision = 2
        self.keys = KEYS | {"rita": scene.reader, "otto": scene.operator}

    async def begin(self, table: Routes) -> None:
        await self.scene.begin(self.service, table)
        theirs = {WORKSPACE: {"mara": "requester", "rita": "reader", "otto": "operator"}}
        theirs[STRANGER] = {"stranger": "requester"}
        for workspace, people in theirs.items():
            keys = self.people[workspace] = [
                ApiKey(key_id=self.keys[who].key_id, sha256=self.keys[who].sha256, principal=who, roles=[role])
                for who, role in people.items()
            ]
            told: dict[str, Any] = {"cause_id": "2", "occurred_at": NOW, "workspace": workspace, "revision": 2}
            await self.scene.send(self.service, WorkspaceChanged.of(**told, name=str(workspace), keys=keys))
        await eventually(lambda: self.service.database.fetchval("select count(*) = 4 from api_keys"))

    async def make(self, *events: PromptAssembled) -> dict[UUID, ImageGenerated]:
        await self.scene.send(self.service, *events)
        made = "select count(*) = $1 from work where outcome = 'made'"
        value = self.service.database.fetchval
        await eventually(lambda: value(made, len(events)), within=120)  # a model loads as slowly as its machine is busy
        wanted = {event.job_id for event in events}

        async def all_told() -> dict[UUID, ImageGenerated]:
            told = {fact.job_id: fact for fact in await self.scene.said(ImageGenerated)}
            return told if wanted <= told.keys() else {}

        found: dict[UUID, ImageGenerated] = await eventually(all_told)
        return found

    async def ask(self, fact: ImageGenerated, *, who: str = "mara", **more: Any) -> httpx.Response:
        asked = {"asset_id": str(fact.asset_id), "manifest_sha256": fact.manifest.sha256, **more}
        async with self.scene.client(self.service, self.keys[who]) as client:
            return await client.post("/v1/replays", json=asked)

    async def get(self, path: str, *, who: str = "mara") -> Any:
        async with self.scene.client(self.service, self.keys[who]) as client:
            return (await client.get(path)).json()

    async def verdict(self, fact: ImageGenerated, **more: Any) -> dict[str, Any]:
        answer = await self.ask(fact, **more)
        assert answer.status_code == 202, answer.text
        return await self.ended(answer.json()["replay_id"])

    async def cap(self, amount: str) -> None:
        """What the workspace's day may cost from now on."""
        self.revision += 1
        told: dict[str, Any] = {"cause_id": str(self.revision), "occurred_at": NOW, "workspace": WORKSPACE}
        limits = Limits(spend_per_day=Decimal(amount))
        changed = WorkspaceChanged.of(
            **told, name="w", keys=self.people[WORKSPACE], limits=limits, revision=self.revision
        )
        await self.scene.send(self.service, changed)
        value = self.service.database.fetchval
        of = "select limits::json ->> 'spend_per_day' = $1 from workspaces where workspace = $2"
        await eventually(lambda: value(of, amount, WORKSPACE))

    async def cancel(self, replay: str, *, who: str = "mara") -> httpx.Response:
        async with self.scene.client(self.service, self.keys[who]) as client:
            return await client.post(f"/v1/replays/{replay}/cancel")

    async def ended(self, replay: str) -> dict[str, Any]:
        async def over() -> dict[str, Any]:
            found = await self.get(f"/v1/replays/{replay}")
            return found if found["ended_at"] else {}

        found: dict[str, Any] = await eventually(over, within=60)
        return found


@contextlib.asynccontextmanager
async def desk(scene: Scene, table: Routes | None = None, roles: str = "consume,work,http") -> AsyncIterator[Desk]:
    """`table`: for the first of a scene."""
    async with scene.service("inference", roles) as service:
        opened = Desk(scene, service)
        if table is not None:
            await opened.begin(table)
        yield opened


async def test_a_proof_is_made_again_to_the_byte_and_no_stage_hears_of_it(scene: Scene) -> None:
    async with desk(scene, routes("proof")) as opened:
        event = assembled()
        fact = (await opened.make(event))[event.job_id]
        found = await opened.verdict(fact)
        assert (found["verdict"], found["changed"], found["measure"]) == ("exact", [], None)
        assert (found["state"], found["cost"], found["asked_by"], found["number"]) == ("judged", "0", "mara", 1)
        assert (await opened.verdict(fact))["number"] == 2
        listed = (await opened.get(f"/v1/replays?asset_id={fact.asset_id}", who="rita"))["replays"]
        assert [each["number"] for each in listed] == [2, 1]

        assert (await opened.ask(fact, who="rita")).status_code == 403, "who may only read may not make"
        assert (await opened.ask(fact, who="stranger")).status_code == 404
        assert (await opened.get("/v1/replays", who="stranger"))["replays"] == []
        assert (await opened.get(f"/v1/replays/{found['replay_id']}", who="stranger"))["status"] == 404
        strange = fact.model_copy(update={"manifest": fact.manifest.model_copy(update={"sha256": "5a" * 32})})
        assert (await opened.ask(strange)).status_code == 404

        acts = (await opened.get("/v1/stages/inference/actions", who="otto"))["actions"]
        assert [(act["principal"], act["action"], act["subject"]) for act in acts] == [
            ("mara", "replay.ask", str(fact.asset_id))
        ] * 2
        value = opened.service.database.fetchval
        assert await value("select count(*) from attempts") == 1, "a replay is no attempt at the job"
        await eventually(lambda: value("select count(*) = 0 from outbox"))
        assert len(await scene.said(ImageGenerated)) == 1


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny")
    return folder


async def test_an_image_of_a_crowd_is_exact_and_other_weights_are_named(
    scene: Scene, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOTYPE_DIFFUSION_MODELS", str(models))
    async with desk(scene, routes("diffusion", model="tiny")) as opened:
        events = [assembled(seed=seed, parameters=SMALL) for seed in range(8)]
        facts = (await opened.make(*events)).values()
        manifests = {
            fact.asset_id: json.loads(await opened.service.blobs.get(fact.manifest.key))["made_by"] for fact in facts
        }
        crowded = max(facts, key=lambda fact: max(manifests[fact.asset_id]["batch_shapes"]))
        assert max(manifests[crowded.asset_id]["batch_shapes"]) > 1
        found = await opened.verdict(crowded)
        assert (found["verdict"], found["changed"], found["measure"]) == ("exact", [], None)

        weights = models / "tiny/unet/diffusion_pytorch_model.safetensors"
        change = (
            "import sys, safetensors.numpy as s; w = s.load_file(sys.argv[1]);"
            "s.save_file({n: (v * 1.2).astype(v.dtype) for n, v in w.items()}, sys.argv[1])"
        )
        changing = await asyncio.create_subprocess_exec(sys.executable, "-c", change, str(weights))
        assert await changing.wait() == 0
        found = await opened.verdict(crowded)
        assert found["verdict"] == "drifted"
        assert {each["field"] for each in found["changed"]} == {
            "model.digest",
            "model.files.unet/diffusion_pytorch_model.safetensors",
        }
        assert found["measure"]["largest"] > 8
        assert found["cost"] is None, "nobody knows what it cost"


async def test_an_image_that_began_with_a_picture_or_wears_a_lora_is_exact_too(
    scene: Scene, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOTYPE_DIFFUSION_MODELS", str(models))
    layer = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    rows = np.random.default_rng(5).normal(size=(2, 64)).astype(np.float32)
    (models / "loras").mkdir()
    save_file(
        {f"{layer}.lora_A.weight": rows, f"{layer}.lora_B.weight": np.ascontiguousarray(rows.T)},
        models / "loras/warm.safetensors",
    )
    able = ["text-to-image", "image-to-image", "inpainting"]
    async with desk(scene, routes("diffusion", model="tiny", capabilities=able, loras=["warm"])) as opened:
        photo = await stored(opened, "reference", Image.radial_gradient("L").resize((96, 64)).convert("RGB"))
        mask = await stored(opened, "mask", Image.linear_gradient("L").resize((96, 64)))
        ten = SMALL.model_copy(update={"steps": 10})
        worn = ten.model_copy(update={"loras": [LoraUse(name="warm", weight=0.5)]})
        begun: dict[str, Any] = {"parameters": ten, "sources": [photo], "strength": 0.6}
        events = {
            "reference": assembled(seed=1, **begun),
            "another": assembled(seed=2, **begun),
            "mask": assembled(seed=3, parameters=ten, sources=[photo, mask]),
            "lora": assembled(seed=4, parameters=worn),
            "both": assembled(seed=5, parameters=worn, sources=[photo, mask]),
            "neither": assembled(seed=6, parameters=ten),
        }
        facts = await opened.make(*events.values())
        assert len({fact.original.sha256 for fact in facts.values()}) == len(events)
        for name, event in events.items():
            found = await opened.verdict(facts[event.job_id])
            assert (found["verdict"], found["changed"], found["measure"]) == ("exact", [], None), name


async def stored(opened: Desk, role: str, picture: Image.Image) -> SourceUse:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    use = source(role, buffer.getvalue())
    await opened.service.blobs.put(use.key, buffer.getvalue(), media_type="image/png")
    return use


async def test_a_provider_without_seeds_is_not_called(scene: Scene) -> None:
    unseeded = routes(
        "openai", model="m", price="0.04", currency="EUR", call={"provider": "acme", "timeout_seconds": 60}
    )
    async with desk(scene, unseeded) as opened:
        event = assembled(parameters=SMALL)
        fact = (await opened.make(event))[event.job_id]
        found = await opened.verdict(fact, pay=True)
        assert (found["verdict"], found["cost"], found["changed"]) == ("not reproducible", "0", [])
        assert "takes no seed" in found["detail"]
        assert len(scene.provider.calls()) == 1


async def test_a_replay_that_costs_is_paid_once_even_where_its_worker_is_killed_in_the_call(scene: Scene) -> None:
    scene.provider.script.change({"takes_seed": True})
    event = assembled(parameters=SMALL)
    async with desk(scene, SEEDED) as opened:
        fact = (await opened.make(event))[event.job_id]
        refused = await opened.ask(fact)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:calotype:problem:would_be_billed")
        assert "0.04 EUR" in refused.json()["detail"]
        assert len(scene.provider.calls()) == 1
        found = await opened.verdict(fact, pay=True)
        assert (found["verdict"], found["cost"], found["currency"], found["price_list"]) == (
            "drifted", "0.04", "EUR", "routes@1"
        )  # fmt: skip
        assert found["provider_request_id"]
        assert len(scene.provider.charges()) == 2
    async with desk(scene, roles="consume,http") as front:
        asked = (await front.ask(fact, pay=True)).json()
        assert (asked["state"], (await front.ask(fact, pay=True)).json()["replay_id"]) == (
            "pending",
            asked["replay_id"],
        )
        doomed = await inference_of_its_own(scene, crash="inference.call.after:1")
        async with asyncio.timeout(60):
            assert await doomed.wait() == -signal.SIGKILL
    async with desk(scene) as opened:
        found = await opened.ended(asked["replay_id"])
        assert (found["state"], found["verdict"], found["cost"]) == ("failed", None, None)
        assert "may have been made and billed" in found["detail"] and found["uncertain"]
        assert found["provider_request_id"].startswith("req_"), "the provider can be asked about it by its own id"
        assert len(scene.provider.charges()) == 3
        assert len(await scene.said(ImageGenerated)) == 1

        (listed,) = (await opened.get("/v1/uncertain", who="otto"))["attempts"]
        assert (listed["attempt_id"], listed["asset_id"], listed["job_id"]) == (
            asked["replay_id"], str(fact.asset_id), None
        )  # fmt: skip
        wanted = {"attempts": [asked["replay_id"]], "charged": "0.05"}
        async with scene.client(opened.service, scene.operator) as otto:
            (settled,) = (await otto.post("/v1/uncertain/settle", json=wanted)).json()["settled"]
            again = (await otto.post("/v1/uncertain/settle", json=wanted | {"charged": "none"})).json()
        assert (settled["cost"], settled["settled_by"]) == ("0.05", "otto")
        assert (again["settled"], [each["cost"] for each in again["already"]]) == ([], ["0.05"])
        found = await opened.get(f"/v1/replays/{asked['replay_id']}")
        assert (found["cost"], found["uncertain"]) == ("0.05", False)
        spent = "select sum(settled)::text || ' ' || sum(reserved)::text from spend"
        assert await opened.service.database.fetchval(spent) == "0.13 0.00"


async def test_what_a_replay_cost_is_settled_by_the_worker_that_hears_it_after_it_was_taken_over(scene: Scene) -> None:
    scene.provider.script.change({"takes_seed": True})
    async with desk(scene, SEEDED) as opened, scene.service("inference", "work"):
        event = assembled(parameters=SMALL)
        fact = (await opened.make(event))[event.job_id]
        scene.provider.script.change({"next": ["slow"], "slow_seconds": 4})
        asked = (await opened.ask(fact, pay=True)).json()["replay_id"]
        await eventually(lambda: made_a_call(scene, 2))
        # As if its process had stood still: the other one takes it over.
        lost = "update work set holder = 'inference@elsewhere', ready_at = clock_timestamp() where work_id = $1"
        await opened.service.database.execute(lost, UUID(asked))
        found = await opened.ended(asked)
        assert (found["state"], found["cost"], found["uncertain"]) == ("failed", None, True)

        async def settled() -> dict[str, Any]:
            found = await opened.get(f"/v1/replays/{asked}")
            return {} if found["uncertain"] else found

        found = await eventually(settled)
        assert (found["state"], found["cost"], found["price_list"]) == ("failed", "0.04", "routes@1")
        assert len(scene.provider.calls()) == 2


async def test_a_worker_that_stood_still_pays_for_no_replay_that_another_may_have_ended(scene: Scene) -> None:
    scene.provider.script.change({"takes_seed": True})
    event = assembled(parameters=SMALL)
    async with desk(scene, SEEDED) as opened:
        fact = (await opened.make(event))[event.job_id]
    async with desk(scene, roles="consume,http") as front:
        asked = UUID((await front.ask(fact, pay=True)).json()["replay_id"])
        pool = front.service.database
        columns = "work_id, kind, workspace, payload, 1 as epoch, asked_at"
        (row,) = await pool.fetch(f"select {columns} from work where work_id = $1", asked)
        lease = Leased(**row)
        assert isinstance(front.service.settings, InferenceSettings)
        backends = open_backends(front.service.settings, hooks.Wakes())
        replayer = replays.Replayer(backends=backends, blobs=front.service.blobs, pool=pool)
        lease.good_until = time.monotonic()
        assert (await replayer.run(lease)).delay == 0, "it is whoever claims it next that makes it"
        lease.good_until = float("inf")
        await pool.execute("update replays set state = 'failed', cost = 0, ended_at = clock_timestamp()")
        assert (await replayer.run(lease)).delay is None
        assert len(scene.provider.calls()) == 1 and not await pool.fetchval("select called_at from replays")
        for backend in backends.values():
            await backend.close()


async def test_a_replay_s_prediction_is_taken_up_by_the_next_worker_and_paid_once(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"provider": "cog", "timeout_seconds": 60, "takes": ["seed"]}
    table = routes("replicate", model="stability-ai/sdxl", price="0.04", currency="EUR", call=call)
    event = assembled(parameters=SMALL)
    with Replicate(tmp_path / "predictions") as server:
        providers = {"cog": {"kind": "replicate", "url": server.url, "key": "r8-test"}}
        monkeypatch.setenv("CALOTYPE_PROVIDERS", json.dumps(providers))
        async with desk(scene, table) as first:
            fact = (await first.make(event))[event.job_id]
            server.script.change({"hold": True})
            asked = (await first.ask(fact, pay=True)).json()["replay_id"]
            kept = "select provider_request_id from replays"
            prediction = await eventually(lambda: first.service.database.fetchval(kept))
            for worker in first.service.workers:
                await worker.stop(within=0.2)
            assert (await first.get(f"/v1/replays/{asked}"))["ended_at"] is None, "the next worker goes on with it"
            server.script.change({"hold": False})
        async with desk(scene) as second:
            found = await second.ended(asked)
        assert (found["state"], found["cost"], found["uncertain"]) == ("judged", "0.04", False)
        assert found["provider_request_id"] == prediction
        assert len(server.calls()) == len(server.charges()) == 2, "one for the image, one for the replay"


SEEDED = routes(
    "openai", model="m", price="0.04", currency="EUR",
    call={"provider": "acme", "timeout_seconds": 60, "takes": ["seed"]},
)  # fmt: skip


async def test_a_replay_that_costs_is_held_to_the_cap_counted_in_the_day_and_cancelled(scene: Scene) -> None:
    scene.provider.script.change({"takes_seed": True})
    async with desk(scene, SEEDED) as opened:
        event = assembled(parameters=SMALL)
        fact = (await opened.make(event))[event.job_id]
        await opened.cap("0.03")
        refused = await opened.ask(fact, pay=True)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:calotype:problem:beyond_the_cap")
        assert "calotype workspace limit" in refused.json()["remedy"]

        await opened.cap("0.06")
        asked = (await opened.ask(fact, pay=True)).json()["replay_id"]

        async def held() -> dict[str, Any]:
            found = await opened.get(f"/v1/replays/{asked}")
            return found if "cap" in (found["waits"] or "") else {}

        found: dict[str, Any] = await eventually(held)
        assert found["state"] == "pending"
        assert "the spend cap of 0.06 EUR a day: 0.04 is spent or set aside, and this takes 0.04" in found["waits"]
        assert len(scene.provider.charges()) == 1

        assert (await opened.cancel(asked, who="rita")).status_code == 403
        assert (await opened.cancel(asked, who="stranger")).status_code == 404
        over = (await opened.cancel(asked)).json()
        assert (over["state"], over["detail"], over["cost"], over["waits"]) == (
            "cancelled", "cancelled by mara", "0", None
        )  # fmt: skip
        assert (await opened.cancel(asked)).json() == over, "asked twice it is cancelled once"

        await opened.cap("0.12")
        judged = await opened.verdict(fact, pay=True)
        assert judged["cost"] == "0.04"
        spend = (await opened.get("/v1/queue"))["spend"]["spent"]
        assert [(each["currency"], each["settled"], each["reserved"]) for each in spend] == [("EUR", "0.08", "0.00")]
        assert (await opened.cancel(judged["replay_id"])).json()["type"] == "urn:calotype:problem:already_over"

        scene.provider.script.change({"next": ["slow"], "slow_seconds": 3})
        asked = (await opened.ask(fact, pay=True)).json()["replay_id"]
        await eventually(lambda: made_a_call(scene, 3))
        assert (await opened.cancel(asked)).json()["state"] == "running", "a call is not broken off"
        over = await opened.ended(asked)
        assert (over["state"], over["verdict"], over["cost"]) == ("cancelled", None, "0.04")
        value = opened.service.database.fetchval
        assert await value("select settled::text from spend") == "0.12"
        acts = (await opened.get("/v1/stages/inference/actions?action=replay.cancel", who="otto"))["actions"]
        assert [(act["principal"], act["subject"]) for act in acts] == [("mara", str(fact.asset_id))] * 2


async def test_a_replay_of_a_model_s_image_is_cancelled_between_two_steps_and_its_neighbour_is_not(
    scene: Scene, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOTYPE_DIFFUSION_MODELS", str(models))
    monkeypatch.setattr(replays, "LOOK_EVERY", 0.1)
    long = SMALL.model_copy(update={"width": 128, "height": 128, "steps": 200})
    async with desk(scene, routes("diffusion", model="tiny", price="0.05")) as opened:
        event = assembled(parameters=long)
        fact = (await opened.make(event))[event.job_id]
        asked = (await opened.ask(fact)).json()["replay_id"]
        neighbour = assembled(seed=2, parameters=long)
        await opened.scene.send(opened.service, neighbour)

        async def taking_steps() -> bool:
            return bool((await opened.get(f"/v1/replays/{asked}"))["step"])

        await eventually(taking_steps)
        assert (await opened.cancel(asked)).json()["state"] == "running"
        over = await opened.ended(asked)
        assert (over["state"], over["detail"], over["verdict"], over["cost"]) == (
            "cancelled", "cancelled by mara", None, None
        )  # fmt: skip
        assert 0 < over["step"] < over["steps"] == 200 and over["device_seconds"] > 0
        made = "select count(*) = 2 from work where outcome = 'made'"
        await eventually(lambda: opened.service.database.fetchval(made), within=60)
        kept = "select reserved::text from replays where cost is null"
        assert await opened.service.database.fetchval(kept) == "0.05", "what began may have cost its whole price"


async def made_a_call(scene: Scene, many: int) -> bool:
    return len(scene.provider.calls()) >= many


async def test_a_replay_waits_for_a_provider_that_is_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PACE", Pace(first=0.1, ceiling=0.1))
    scene.provider.script.change({"takes_seed": True})
    async with desk(scene, SEEDED) as opened:
        event = assembled(parameters=SMALL)
        fact = (await opened.make(event))[event.job_id]
        scene.provider.script.change({"weights": {"503": 1}})
        asked = (await opened.ask(fact, pay=True)).json()["replay_id"]
        await eventually(lambda: made_a_call(scene, 6))  # more than a failure of its own is tried
        assert (await opened.get(f"/v1/replays/{asked}"))["ended_at"] is None
        assert await opened.service.database.fetchval("select max(failures) from work") == 0
        scene.provider.script.change({"weights": {"ok": 1}})
        found = await opened.ended(asked)
        assert (found["verdict"], found["cost"]) == ("drifted", "0.04")
        assert len(scene.provider.charges()) == 2


async def test_a_replay_that_nobody_claims_ends_and_costs_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(scene, routes("proof")) as opened:
        event = assembled()
        fact = (await opened.make(event))[event.job_id]
    monkeypatch.setenv("CALOTYPE_UNCLAIMED_SECONDS", "1")
    monkeypatch.setattr(unclaimed, "LOOK_EVERY", 0.2)
    async with desk(scene, roles="consume,http") as front:
        asked = (await front.ask(fact)).json()
        assert "no worker claims replay.proof/standard" in asked["waits"]
        found = await front.ended(asked["replay_id"])
        assert (found["state"], found["reason"], found["cost"]) == ("failed", "unroutable", "0")
        assert "start one: inference with the role work" in found["detail"]


async def test_a_replay_whose_worker_is_killed_is_made_by_another_and_its_job_is_not_disturbed(scene: Scene) -> None:
    async with desk(scene, routes("proof")) as opened:
        event = assembled()
        fact = (await opened.make(event))[event.job_id]
        before = await opened.service.database.fetch("select * from attempts")
    async with desk(scene, roles="consume,http") as front:
        asked = (await front.ask(fact)).json()
        doomed = await inference_of_its_own(scene, crash="inference.call.before:1")
        async with asyncio.timeout(60):
            assert await doomed.wait() == -signal.SIGKILL
        assert (await front.get(f"/v1/replays/{asked['replay_id']}"))["state"] == "running"
        other = await inference_of_its_own(scene)
        try:
            found = await front.ended(asked["replay_id"])
        finally:
            other.terminate()
            await other.wait()
        assert found["verdict"] == "exact"
        value = front.service.database.fetchval
        assert await value("select losses from work where work_id = $1", UUID(asked["replay_id"])) == 1
        assert await front.service.database.fetch("select * from attempts") == before
        assert len(await scene.said(ImageGenerated)) == 1


async def inference_of_its_own(scene: Scene, *, crash: str = "") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.inference", "--roles", "work"),
        env={**os.environ, **scene.environment, "CALOTYPE_CRASH": crash},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
