"""What an operator sees of the queue and holds back, over HTTP, on a running inference and a running publisher."""

from pathlib import Path
from uuid import uuid4

import httpx

from deploy.local.servers import EmbeddedServers
from shared import identity
from shared.events import ApiKey, ImageGenerated, WorkspaceChanged
from tests.inference.prompts import NOW, WORKSPACE, assembled
from tests.live.test_inference import Stage, scripted

KEYS = {name: identity.new_key() for name in ("operator", "reader", "owner")}
BRAKES = "/v1/stages/inference/brakes"


async def people(stage: Stage) -> dict[str, httpx.AsyncClient]:
    """A client for each role."""
    keys = [
        ApiKey(key_id=key.key_id, sha256=key.sha256, principal=f"the {name}", roles=[name])
        for name, key in KEYS.items()
    ]
    await stage.send(
        WorkspaceChanged.of(
            cause_id="people", occurred_at=NOW, workspace=WORKSPACE, name="Salt & Linden", keys=keys, revision=9
        )
    )
    await stage.until(lambda: stage.value("select count(*) = $1 from api_keys", len(keys)))
    transport = httpx.ASGITransport(stage.service.app)
    return {
        name: httpx.AsyncClient(
            transport=transport, base_url="http://inference", headers={"Authorization": f"Bearer {key.token}"}
        )
        for name, key in KEYS.items()
    }


async def test_nothing_new_starts_behind_a_brake_and_it_says_who_when_and_why(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        clients = await people(stage)
        otto = clients["operator"]
        runs, waits = assembled(), assembled()
        backend.held.add(runs.job_id)
        await stage.send(runs)
        await backend.begun.wait()
        lane = await stage.value("select lane from work limit 1")
        asked = {"mode": "drain", "reason": "the model is changed"}
        put = await otto.put(f"{BRAKES}/lane/{lane}", json=asked)
        assert put.status_code == 200, put.text
        assert (put.json()["by"], put.json()["reason"], put.json()["running"]) == ("the operator", asked["reason"], 1)

        await stage.send(waits)
        await stage.until(lambda: stage.value("select count(*) = 1 from work where parked is not null"))
        seen = (await clients["reader"].get("/v1/queue")).json()
        (line,) = seen["lines"]
        assert (line["lane"], line["running"], line["held"], line["waiting"]) == (lane, 1, 1, 0)
        (worker,) = seen["workers"]
        assert worker["worker"].startswith("inference@") and (worker["leases"], worker["run_out"]) == (1, 0)
        assert [(b["kind"], b["name"], b["mode"]) for b in seen["brakes"]] == [("lane", lane, "drain")]
        assert set(seen["shares"]) == {"dedicated", "standard", "bulk"}

        query = {"request": [str(runs.request_id), str(waits.request_id)]}
        standings = (await clients["reader"].get("/v1/stages/inference/work", params=query)).json()
        braked = {one["job_id"]: one["brake"] and one["brake"]["reason"] for one in standings}
        assert braked == {str(runs.job_id): None, str(waits.job_id): asked["reason"]}

        backend.held.clear()
        assert list(await stage.outcomes(1)) == [runs.job_id]
        assert (await otto.get(BRAKES)).json()[0]["running"] == 0
        off = await otto.delete(f"{BRAKES}/lane/{lane}")
        assert off.json()["released"] is True
        assert isinstance((await stage.outcomes(1))[waits.job_id], ImageGenerated)
        assert (await otto.delete(f"{BRAKES}/lane/{lane}")).json()["released"] is False
        acts = (await otto.get("/v1/stages/inference/actions")).json()["actions"]
        assert [(act["action"], act["subject"]) for act in acts] == [
            ("brake.resume", f"lane/{lane}"),
            ("brake.drain", f"lane/{lane}"),
        ]


async def test_an_operator_brakes_their_own_workspace_and_only_an_owner_everybodys(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with scripted(servers, tmp_path) as (stage, _):
        clients = await people(stage)
        asked = {"mode": "pause", "reason": "too hot"}
        for name, path, more, status in (
            ("reader", "lane/bulk", {}, 403),
            ("operator", "lane/bulk", {"everyone": True}, 403),
            ("operator", f"workspace/{uuid4()}", {}, 403),
            ("operator", "lane/bluk", {}, 404),
            ("operator", "target/site", {}, 404),
            ("operator", "workspace/mine", {}, 422),
            ("operator", "lane/bulk", {"reason": ""}, 422),
            ("operator", f"workspace/{WORKSPACE}", {}, 200),
            ("owner", "backend/gpu", {"everyone": True}, 200),
            ("owner", f"workspace/{uuid4()}", {}, 200),
        ):
            answer = await clients[name].put(f"{BRAKES}/{path}", json=asked | more)
            assert answer.status_code == status, f"{name} {path}: {answer.text}"
        listed = (await clients["reader"].get(BRAKES)).json()
        assert {(b["kind"], b["everyone"]) for b in listed} == {("workspace", False), ("backend", True)}
        assert (await clients["operator"].delete(f"{BRAKES}/backend/gpu")).json()["released"] is False
        refused = await clients["operator"].delete(f"{BRAKES}/backend/gpu", params={"everyone": True})
        assert refused.status_code == 403 and "owner" in refused.json()["remedy"]
