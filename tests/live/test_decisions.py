"""People decide: on the version they saw, once, taken back within the window, and never against a cancel."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from deploy.local.servers import EmbeddedServers
from shared.events import AssetApproved, AssetRejected, RequestCompleted, ReviewRecorded
from tests.catalog.facts import TRACE, Request
from tests.live.cataloguing import Catalog, catalog, verdict
from tests.live.stage import eventually

LONG = 3600.0


async def decide(client: httpx.AsyncClient, asset: dict[str, Any], decision: str = "approve", **more: Any) -> Any:
    path = f"/v1/assets/{asset['asset_id']}/decisions"
    return await client.post(path, json=verdict(asset, decision, **more))


async def status_of(running: Catalog, asset: dict[str, Any]) -> str:
    found: str = (await running.ada.get(f"/v1/assets/{asset['asset_id']}")).json()["status"]
    return found


async def test_an_approval_is_a_public_fact_that_needs_nothing_else(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="approved")
        (job,) = request.jobs
        await running.hear(*request.life())
        (asset,) = await running.assets()
        answer = await decide(running.ada, asset, rubric=["label", "light"])
        assert answer.status_code == 200, answer.text
        assert await status_of(running, asset) == "approved"

        async def said() -> list[Any]:
            return await running.said("assets-approved.v1")

        (fact,) = await eventually(said)
        assert isinstance(fact, AssetApproved)
        assert [a.principal for a in fact.approvers] == ["ada"]
        assert str(fact.cause_id) == answer.json()["decision_id"]
        assert [(f.name, f.rendition) for f in fact.files] == [("original", "original"), ("web-wide", "wide")]
        for file in fact.files:
            path = file.url.removeprefix("http://calotype.test")
            stored = job.file(file.name)
            await running.service.blobs.put(
                stored.key, f"{job.job_id} 1 {file.name}".encode(), media_type=file.media_type
            )
            redirect = await running.ada.get(path)
            assert redirect.status_code == 307
            served = await running.ada.get(redirect.headers["location"].removeprefix("http://calotype.test"))
            assert served.content == f"{job.job_id} 1 {file.name}".encode()
            assert served.headers["content-type"] == file.media_type
            assert "immutable" in served.headers["cache-control"]
        told = (await running.ada.get(f"/v1/trace/{job.job_id}")).json()
        types = [f["type"] for f in told["facts"]]
        assert types[-3:] == ["ReviewRecorded", "AssetApproved", "RequestCompleted"]
        assert told["trace_ids"] == [TRACE], "a decision days later is still in the trace of its request"


async def test_files_are_only_for_those_who_may_see_them(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="files")
        (job,) = request.jobs
        await running.hear(*request.life())
        file = (await running.ada.get(f"/v1/assets/{job.asset_id}")).json()["files"][0]
        path = file["url"].removeprefix("http://calotype.test")
        async with httpx.AsyncClient(base_url=running.url) as nobody:
            assert (await nobody.get(path)).status_code == 401
        missing = await running.ada.get(path)
        assert missing.status_code == 404
        assert missing.json()["type"] == "urn:calotype:problem:blob_missing"
        altered = await running.ada.get("/v1/blobs/eyJrZXkiOiJ4In0.AAAA")
        assert altered.status_code == 422
        assert altered.json()["type"] == "urn:calotype:problem:address_altered"


async def test_of_two_people_one_decides_and_the_other_is_told_who(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path, undo_seconds=LONG) as running:
        request = Request(name="contested", variants=8)
        await running.hear(*request.life())
        assets = await running.assets()
        answers = await asyncio.gather(
            *(decide(running.clients[name], asset) for asset in assets for name in ("ada", "mara"))
        )
        assert sorted(answer.status_code for answer in answers) == [200] * 8 + [409] * 8
        for answer in answers:
            if answer.status_code == 409:
                problem = answer.json()
                assert problem["by"] in {"ada", "mara"}
                assert problem["detail"].startswith(f"{problem['by']} approved at ")
        decided = await running.sql("select count(*) from decisions where state = 'open'")
        assert decided == 8


async def test_the_same_decision_sent_again_is_the_same_decision(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path, undo_seconds=LONG) as running:
        await running.hear(*Request(name="again").life())
        (asset,) = await running.assets()
        first, second = await decide(running.ada, asset), await decide(running.ada, asset)
        assert (first.status_code, first.json()) == (second.status_code, second.json())
        other = await decide(running.ada, asset, "reject", code="soft")
        assert other.status_code == 409


async def test_a_decision_waits_out_its_window_and_then_leaves(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path, undo_seconds=0.6) as running:
        request = Request(name="window")
        await running.hear(*request.life())
        (asset,) = await running.assets()
        answer = await decide(running.ada, asset, "reject", code="off_palette", reason="a saffron wall")
        assert answer.status_code == 200
        assert await status_of(running, asset) == "completed"
        assert await running.said("assets-rejected.v1") == []

        async def rejected() -> list[Any]:
            return await running.said("assets-rejected.v1")

        (fact,) = await eventually(rejected)
        assert isinstance(fact, AssetRejected)
        assert (fact.code, fact.reason, fact.by.principal) == ("off_palette", "a saffron wall", "ada")
        late = await running.ada.post(f"/v1/decisions/{answer.json()['decision_id']}/undo")
        assert late.status_code == 409
        assert late.json()["state"] == "final"


async def test_a_decision_taken_back_leaves_nothing_but_its_record(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path, undo_seconds=0.8) as running:
        request = Request(name="undone")
        await running.hear(*request.life())
        (asset,) = await running.assets()
        first = (await decide(running.ada, asset)).json()
        undone = await running.clients["mara"].post(f"/v1/decisions/{first['decision_id']}/undo")
        assert undone.status_code == 200
        assert undone.json() == {"asset_id": asset["asset_id"], "review_version": 1}
        stale = await decide(running.ada, asset)
        assert stale.status_code == 409, "a decision names the review it builds on"
        (again,) = await running.assets()
        assert (again["review_version"], again["decision"]) == (1, None)

        async def settled() -> bool:
            return bool(await running.sql("select count(*) = 1 from work where finished_at is not null"))

        await eventually(settled)  # the first decision's window has passed, and it stayed taken back
        assert await running.said("assets-approved.v1") == []
        rejected = await decide(running.clients["mara"], again, "reject", code="bad_crop")
        assert rejected.status_code == 200
        recorded = [e for e in await running.said("reviews-recorded.v1") if isinstance(e, ReviewRecorded)]
        assert [(e.decision, e.by) for e in sorted(recorded, key=lambda e: e.occurred_at)] == [
            ("approve", "ada"),
            ("undo", "mara"),
            ("reject", "mara"),
        ]


async def test_a_cancel_and_a_decision_meet_and_one_of_them_wins(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        requests = [Request(name=f"race {n}") for n in range(12)]
        await running.hear(*(fact for request in requests for fact in request.life()))
        assets = await running.assets()
        answers = await asyncio.gather(
            *(decide(running.ada, asset) for asset in assets),
            running.send(*(request.cancel() for request in requests)),
        )
        await running.heard(*(request.cancel() for request in requests))
        ends = {asset["asset_id"]: await status_of(running, asset) for asset in assets}
        for asset, answer in zip(assets, answers[:-1], strict=True):
            expected = "approved" if answer.status_code == 200 else "cancelled"
            assert ends[asset["asset_id"]] == expected, answer.text
        assert await running.sql("select count(*) from awaiting_review") == 0
        doubled = await running.sql(
            "select count(*) from (select about from ledger where type in ('AssetApproved', 'JobCancelled') "
            "group by about having count(*) > 1) as twice"
        )
        assert doubled == 0


async def test_a_cancel_waits_for_an_undo(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path, undo_seconds=LONG) as running:
        request = Request(name="cancel then undo")
        await running.hear(*request.life())
        (asset,) = await running.assets()
        decision = (await decide(running.ada, asset)).json()
        await running.hear(request.cancel())
        assert await status_of(running, asset) == "completed", "what was decided first stays decided"
        await running.ada.post(f"/v1/decisions/{decision['decision_id']}/undo")
        assert await status_of(running, asset) == "cancelled"


async def test_hundreds_are_approved_in_one_call(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="bulk", variants=100)
        await running.hear(*request.life())
        assets = await running.assets(limit=200)
        stranger = assets[0] | {"asset_id": str(Request(name="nobody").jobs[0].asset_id)}
        verdicts = [verdict(asset) | {"asset_id": asset["asset_id"]} for asset in (*assets, stranger)]
        answer = (await running.ada.post("/v1/decisions", json={"decisions": verdicts})).json()
        assert len(answer["decided"]) == 100
        assert [refused["code"] for refused in answer["refused"]] == ["not_found"]
        counts = (await running.ada.get("/v1/jobs", params={"group": "status"})).json()
        assert counts["groups"] == [{"key": "approved", "jobs": 100, "statuses": {"approved": 100}}]

        async def completed() -> list[Any]:
            return await running.said("requests-completed.v1")

        (fact,) = await eventually(completed)
        assert isinstance(fact, RequestCompleted)
        assert (fact.jobs, str(fact.cost)) == ({"approved": 100}, "4.000")


async def test_whoever_may_not_decide_is_told_who_may(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        await running.hear(*Request(name="forbidden").life())
        (asset,) = await running.assets()
        answer = await decide(running.clients["rita"], asset)
        assert answer.status_code == 403
        assert answer.json()["who_may"] == ["ada", "mara"]


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"decision": "perhaps"}, "decision"),
    ({"decision": "reject"}, "body"),
    ({"decision": "reject", "code": "ugly"}, "body"),
    ({"asset_version": "7"}, "asset_version"),
    ({"sure": True}, "sure"),
    ({"reason": "a\x00b"}, "body"),
    ({"rubric": ["line"] * 10}, "rubric"),
]


async def test_a_malformed_decision_names_its_place(servers: EmbeddedServers, tmp_path: Path) -> None:
    asset = Request().jobs[0].asset_id
    async with catalog(servers, tmp_path) as running:
        for changed, where in MALFORMED:
            body = {"asset_version": str(asset), "decision": "approve"} | changed
            answer = await running.ada.post(f"/v1/assets/{asset}/decisions", json=body)
            assert (answer.status_code, answer.json()["where"]) == (422, where), changed
            assert answer.headers["content-type"] == "application/problem+json"
