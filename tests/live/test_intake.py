"""Stage 1 on a real Kafka, a real Postgres and a real store."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import orjson
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.servers import EmbeddedServers
from shared import ids
from shared.events import (
    Attempt,
    AttemptSettled,
    AttemptState,
    CancelRequested,
    FailureReason,
    JobFailed,
    LibraryItemChanged,
    RequestAccepted,
    RequestRejected,
    Stage,
    WorkspaceChanged,
)
from shared.http import SESSION_COOKIE
from shared.identity import csrf_token
from shared.kafka import Record
from shared.topics import IMAGE_REQUESTS
from tests.live.intaking import BOOTSTRAP, GOOD, Intake, Line, intake_on, until
from tests.live.stage import new_database
from tests.prompt.library import brand, campaign, documents, template


async def test_a_request_is_answered_and_told_once_with_everything_pinned(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        assert (await intake.publish()).status_code == 201
        first = await intake.submit("a", variants=2)
        assert first.status_code == 202, first.text
        again = await intake.submit("a", variants=2)
        assert again.status_code == 202 and again.json() == first.json()
        assert again.headers["idempotency-replayed"] == "true"
        other = await intake.submit("a", variants=3)
        assert other.status_code == 422
        assert other.headers["content-type"] == "application/problem+json"
        assert other.json()["type"] == "urn:calotype:problem:idempotency_key_reused"

        (fact,) = await intake.all_said(RequestAccepted)
        assert str(fact.request_id) == first.json()["request_id"]
        assert [str(ids.job_id(fact.request_id, number)) for number in (1, 2)] == first.json()["jobs"]
        pins = {document.pin() for document in documents()}
        assert {fact.template, fact.brand, fact.policy, fact.rubric, fact.campaign, fact.recipes["web"]} < pins
        for pin in pins:
            assert await intake.service.blobs.get(f"ws/{intake.workspace}/library/{pin.digest}.json")

        shown = await intake.client.get(first.headers["location"])
        assert shown.json()["jobs"] == first.json()["jobs"] and shown.json()["ended"] == 0
        assert len(await intake.all_said(WorkspaceChanged)) == 1
        assert len(await intake.all_said(LibraryItemChanged)) == len(documents())


async def test_requests_that_come_together_share_a_commit_and_each_gets_its_own_answer(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        bodies = [GOOD] * 40 + [GOOD | {"skus": ["NO"]}] * 5
        answers = await asyncio.gather(*(intake.submit(str(n), **body) for n, body in enumerate(bodies)))
        assert [answer.status_code for answer in answers] == [202] * 40 + [422] * 5
        assert len(await intake.all_said(RequestAccepted)) == 40


CSV = """key,sku,asset_type,setting,season,locale,headline,variants,channels,priority,confidentiality
oil-1,OIL-100,tile,linen,winter,en,Slow down,3,web|email,normal,public
oil-2,OIL-100,tile,stone-sink,,ar,ببطء,3,web,high,public
oil-3,OIL-100,tile,marble,winter,en,Calm,3,web,normal,public
oil-4,OIL-100,tile,linen,winter,en,It heals eczema,3,web,normal,public
oil-1,OIL-100,tile,linen,winter,en,Again,1,web,normal,public
"""


async def test_a_file_is_expanded_with_a_report_and_sending_it_again_makes_nothing(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        batch = await intake.expanded(await intake.send_file(CSV, campaign="winter"))
        assert (batch["rows"], batch["accepted"], batch["refused"], batch["jobs"]) == (5, 2, 3, 6)
        rows = (await intake.client.get(f"/v1/batches/{batch['batch_id']}/rows")).json()["rows"]
        assert [(row["line"], row["state"]) for row in rows] == [
            (2, "accepted"), (3, "accepted"), (4, "refused"), (5, "refused"), (6, "refused"),
        ]  # fmt: skip
        assert [row["problems"][0]["code"] for row in rows[2:]] == [
            "value_not_allowed",
            "policy_refused",
            "doubled_key",
        ]
        facts = await intake.all_said(RequestAccepted)
        assert {(fact.brief.row_key, fact.brief.variants) for fact in facts} == {("oil-1", 3), ("oil-2", 3)}
        assert {str(fact.brief.batch_id) for fact in facts} == {batch["batch_id"]}

        again = await intake.expanded(await intake.send_file(CSV, campaign="winter"))
        assert (again["upload"], again["accepted"], again["unchanged"], again["jobs"]) == (2, 0, 2, 0)
        assert len(await intake.all_said(RequestAccepted)) == 2


async def test_a_repaired_errors_csv_makes_only_what_was_bad(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        batch = await intake.expanded(await intake.send_file(CSV, campaign="winter"))
        errors = (await intake.client.get(f"/v1/batches/{batch['batch_id']}/errors.csv")).text
        assert errors.splitlines()[0].endswith("confidentiality,problem,column,fix")
        assert ",setting," in errors.splitlines()[1]
        repaired = (
            errors.replace("marble", "linen").replace("It heals eczema", "It is calm").replace("\noil-1,", "\noil-5,")
        )
        fixed = await intake.expanded(await intake.send_file(repaired, campaign="winter"))
        assert (fixed["accepted"], fixed["unchanged"], fixed["refused"], fixed["jobs"]) == (3, 0, 0, 7)
        keys = [fact.brief.row_key for fact in await intake.all_said(RequestAccepted)]
        assert sorted(keys) == ["oil-1", "oil-2", "oil-3", "oil-4", "oil-5"]


async def test_a_changed_row_is_a_new_request_that_supersedes_the_old(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        await intake.expanded(await intake.send_file(CSV, campaign="winter"))
        changed = await intake.expanded(await intake.send_file(CSV.replace("Slow down", "Slower"), campaign="winter"))
        assert (changed["accepted"], changed["unchanged"]) == (1, 1)
        facts = await intake.all_said(RequestAccepted)
        old, new = [fact for fact in facts if fact.brief.row_key == "oil-1"]
        assert old.supersedes is None and new.supersedes == old.request_id


async def test_jsonl_and_forms_go_the_same_way(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        lines = (
            b"\n".join(orjson.dumps(GOOD | {"key": key}) for key in ("a", "b")) + b'\n{"key": "c", "skus": 1}\n[1]\n'
        )
        sent = await intake.send_file(lines, media_type="application/jsonl", name="lines")
        batch = await intake.expanded(sent)
        assert (batch["rows"], batch["accepted"], batch["refused"]) == (4, 2, 2)
        form = await intake.client.post(
            "/v1/batches", data={"campaign": "winter", "name": "form"}, files={"file": ("rows.csv", CSV)}
        )
        assert (await intake.expanded(form))["accepted"] == 2


async def test_a_preview_counts_and_reports_and_stores_nothing(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        headers = {"Content-Type": "text/csv"}
        ask: dict[str, Any] = {"content": CSV, "params": {"campaign": "winter"}}
        looked = await intake.client.post("/v1/batches/preview", headers=headers, **ask)
        told = looked.json()
        assert (told["rows"], told["good"], told["refused"], told["jobs"]) == (5, 2, 3, 6)
        assert told["jobs_by_asset_type"] == {"tile": 6}
        assert {(fault["code"], fault["column"], fault["lines"][0]) for fault in told["faults"]} == {
            ("value_not_allowed", "setting", 4), ("policy_refused", "headline", 5), ("doubled_key", "key", 6),
        }  # fmt: skip
        report = await intake.client.post("/v1/batches/preview", headers=headers | {"Accept": "text/csv"}, **ask)
        assert len(report.text.splitlines()) == 4
        assert (await intake.client.get("/v1/batches")).json() == []
        await intake.expanded(await intake.send_file(CSV, campaign="winter"))
        after = (await intake.client.post("/v1/batches/preview", headers=headers, **ask)).json()
        assert (after["unchanged"], after["jobs"]) == (2, 0)


async def test_every_readable_event_is_answered_once_in_both_modes_and_the_rest_is_a_dead_letter(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        await intake.ask("good", GOOD)
        await intake.ask("good", GOOD)
        await intake.ask("bad-field", GOOD | {"colour": "red"})
        await intake.ask("bad-field", GOOD | {"colour": "red"})
        await intake.ask("no-workspace", GOOD, workspace=None)
        await intake.ask("strange", GOOD, workspace=str(uuid4()))
        await intake.ask("nul", GOOD | {"client_reference": "a\x00b"})
        await intake.ask("not-json", b"{")
        await intake.ask("no-source", GOOD, source=None)
        structured = {
            "specversion": "1.0", "id": "structured", "source": "/shop", "type": "calotype.ImageRequested",
            "workspace": str(intake.workspace), "clientreference": "order 7", "data": GOOD,
        }  # fmt: skip
        headers = [("content-type", b"application/cloudevents+json; charset=utf-8")]
        await intake.send(Record("", b"s", headers, orjson.dumps(structured)))

        accepted = await intake.said(RequestAccepted, 2)
        assert {fact.request_id for fact in accepted} == {
            ids.request_id_for_kafka(intake.workspace, "/shop", event_id) for event_id in ("good", "structured")
        }
        assert {fact.client_reference for fact in accepted} == {None, "order 7"}
        assert {fact.principal for fact in accepted} == {"kafka:/shop"}
        rejected = {fact.origin_id: fact.problems[0] for fact in await intake.said(RequestRejected, 4)}
        assert {origin: (problem.code, problem.where) for origin, problem in rejected.items()} == {
            "/shop bad-field": ("unknown_field", "colour"),
            "/shop no-workspace": ("missing_field", "workspace"),
            "/shop strange": ("unknown_workspace", "workspace"),
            "/shop nul": ("control_character", "client_reference"),
        }
        assert all(problem.remedy for problem in rejected.values())
        await until(lambda: _committed(intake, 10))
        assert len(await intake.all_said(RequestAccepted)) == 2
        assert len(await intake.all_said(RequestRejected)) == 4
        assert await dead_letters(intake) == {b"not-json": b"bad_body", b"no-source": b"bad_header"}


async def _committed(intake: Intake, records: int) -> bool:
    """Whether the group is done with so many records."""
    settings = intake.service.settings
    topic = settings.topic_prefix + IMAGE_REQUESTS.name
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, group_id=f"{settings.topic_prefix}intake")
    await consumer.start()
    try:
        offsets = [await consumer.committed(TopicPartition(topic, number)) or 0 for number in range(2)]
    finally:
        await consumer.stop()
    return sum(offsets) == records


async def dead_letters(intake: Intake) -> dict[bytes, bytes]:
    settings = intake.service.settings
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="earliest")
    partition = TopicPartition(f"{settings.topic_prefix}{IMAGE_REQUESTS.name}.dlq", 0)
    await consumer.start()
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        found = {}
        while await consumer.position(partition) < end:
            record = await consumer.getone()
            found[record.key] = dict(record.headers)["calotype-reason"]
        return found
    finally:
        await consumer.stop()


async def test_a_cancel_is_told_once_for_a_job_a_request_and_a_whole_batch(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        made = (await intake.submit("a", variants=2)).json()
        path = f"/v1/requests/{made['request_id']}/cancel"
        for body in ({"job_id": made["jobs"][1]}, {"reason": "not needed"}, {"reason": "again"}, None):
            assert (await intake.client.post(path, json=body)).status_code == 202
        assert (await intake.client.post(path, json={"job_id": str(uuid4())})).status_code == 404
        assert (await intake.client.post(f"/v1/requests/{uuid4()}/cancel")).status_code == 404
        cancels = await intake.all_said(CancelRequested)
        assert [(str(fact.job_id) if fact.job_id else None, fact.reason) for fact in cancels] == [
            (made["jobs"][1], None), (None, "not needed"),
        ]  # fmt: skip
        (accepted,) = await intake.all_said(RequestAccepted)
        assert {fact.traceparent for fact in cancels} == {accepted.traceparent}  # on the trace of what it ends
        assert (await intake.client.get(f"/v1/requests/{made['request_id']}")).json()["cancel_requested"]

        batch = await intake.expanded(await intake.send_file(CSV, campaign="winter"))
        path = f"/v1/batches/{batch['batch_id']}/cancel"
        assert [(await intake.client.post(path)).status_code for _ in range(2)] == [202, 202]
        await until(lambda: _state_is(intake, batch["batch_id"], "cancelled"))
        rows = {fact.request_id for fact in await intake.all_said(RequestAccepted) if fact.brief.batch_id}
        assert {fact.request_id for fact in await intake.all_said(CancelRequested)} == rows | {UUID(made["request_id"])}


async def _state_is(intake: Intake, batch_id: str, state: str) -> bool:
    return bool((await intake.client.get(f"/v1/batches/{batch_id}")).json()["state"] == state)


async def test_quota_is_reserved_at_the_door_and_settled_by_attempt(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found(limits={"jobs_per_day": 10, "max_open_jobs": 6, "spend_per_day": "1.00"})
        await intake.publish()
        first = await intake.submit("a", variants=6)
        assert first.status_code == 202
        over = await intake.submit("b", variants=1)
        assert over.status_code == 429 and over.json()["type"].endswith("quota_exceeded")
        assert "open at once" in over.json()["detail"]

        (fact,) = await intake.all_said(RequestAccepted)
        jobs = [UUID(job) for job in first.json()["jobs"]]
        failed = ended(fact, jobs[0], attempts=[])
        charged = ended(fact, jobs[1], attempts=[attempt(jobs[1], 1, "0.40"), attempt(jobs[1], 2, None)])
        await intake.tell(failed, charged, charged, failed)
        await until(lambda: _open_jobs(intake, 4))
        usage = (await intake.client.get("/v1/usage")).json()
        assert usage["days"][0]["jobs"] == 6 and usage["days"][0]["ended"] == 2 and usage["days"][0]["released"] == 1
        assert {name: usage["spent"][0][name] for name in ("cost", "attempts", "unpriced")} == {
            "cost": "0.40", "attempts": 2, "unpriced": 1,
        }  # fmt: skip
        assert (await intake.submit("c", variants=2)).status_code == 202

        late = AttemptSettled.of(
            cause_id="bill", occurred_at=fact.occurred_at, workspace=fact.workspace, request_id=fact.request_id,
            job_id=jobs[1], attempt=attempt(jobs[1], 2, "0.75"),
        )  # fmt: skip
        await intake.tell(late, late)
        await until(lambda: _spent(intake, "1.15"))
        assert (await intake.submit("d")).status_code == 429, "open jobs are all that is refused for here"
        await intake.tell(*(ended(fact, job, attempts=[]) for job in jobs[2:]))
        await until(lambda: _open_jobs(intake, 2))
        assert (await intake.submit("e")).status_code == 202, "inference holds what the cap has no room for"
        assert (await intake.client.get("/v1/usage")).json()["spent"][0]["unpriced"] == 0


async def test_a_run_that_cost_something_is_not_given_back_whichever_end_is_heard_first(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        first = await intake.submit("a", variants=2)
        (fact,) = await intake.all_said(RequestAccepted)
        jobs = [UUID(job) for job in first.json()["jobs"]]
        freely, dearly = ended(fact, jobs[0], attempts=[]), ended(fact, jobs[0], attempts=[attempt(jobs[0], 1, "0.40")])
        await intake.tell(freely)
        await until(lambda: _open_jobs(intake, 1))
        await intake.tell(dearly, freely, ended(fact, jobs[1], attempts=[]))
        await until(lambda: _open_jobs(intake, 0))
        (today,) = (await intake.client.get("/v1/usage")).json()["days"]
        assert (today["ended"], today["released"]) == (2, 1)


def ended(fact: RequestAccepted, job: UUID, *, attempts: list[Attempt]) -> JobFailed:
    return JobFailed.of(
        cause_id="end", occurred_at=fact.occurred_at, workspace=fact.workspace, request_id=fact.request_id, job_id=job,
        stage=Stage.INFERENCE, reason=FailureReason.INTERNAL, detail="made up", attempts=attempts,
    )  # fmt: skip


def attempt(job: UUID, number: int, cost: str | None) -> Attempt:
    return Attempt(
        attempt_id=ids.attempt_id(job, 1, number), number=number, backend="cloud", state=AttemptState.FAILED, cost=cost
    )


async def _open_jobs(intake: Intake, number: int) -> bool:
    return bool((await intake.client.get("/v1/usage")).json()["open_jobs"] == number)


async def _spent(intake: Intake, cost: str) -> bool:
    return bool((await intake.client.get("/v1/usage")).json()["spent"][0]["cost"] == cost)


async def test_a_link_signs_one_browser_in_once_and_its_session_is_safe_against_forgery(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        link = (await intake.client.post("/v1/links", json={"next": "/review"})).json()["url"]
        transport = httpx.ASGITransport(app=intake.service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as browser:
            signed_in = await browser.get(link)
            assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/review")
            assert "HttpOnly" in signed_in.headers["set-cookie"] and "SameSite=lax" in signed_in.headers["set-cookie"]
            assert (await browser.get("/v1/usage")).status_code == 200
            key = {"Idempotency-Key": "x"}
            assert (await browser.post("/v1/requests", json=GOOD, headers=key)).status_code == 403
            token = csrf_token(browser.cookies[SESSION_COOKIE], secret=intake.service.gate.secret)
            honest = key | {"X-CSRF-Token": token}
            assert (await browser.post("/v1/requests", json=GOOD, headers=honest)).status_code == 202
            forged = honest | {"Origin": "https://elsewhere.example"}
            assert (await browser.post("/v1/requests", json=GOOD, headers=forged)).status_code == 403
            assert (await browser.post("/sign-out")).status_code == 403
            assert (await browser.post("/sign-out", headers=honest)).status_code == 303
            assert (await browser.get("/v1/usage")).status_code == 401
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as second:
            assert (await second.get(link)).status_code == 410
            assert (await second.get("/v1/usage")).status_code == 401
        for away in ("https://evil.example", "//evil.example", "/\\evil.example"):
            url = (await intake.client.post("/v1/links", json={"next": away})).json()["url"]
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as browser:
                assert (await browser.get(url)).headers["location"] == "/"


async def test_keys_have_roles_are_revoked_and_never_lock_everybody_out(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        me = await intake.found()
        await intake.publish()
        made = await intake.client.post("/v1/keys", json={"principal": "rita", "roles": ["reader"]})
        rita = {"Authorization": f"Bearer {made.json()['token']}"}
        assert (await intake.client.get("/v1/usage", headers=rita)).status_code == 200
        refused = await intake.client.post("/v1/requests", json=GOOD, headers=rita | {"Idempotency-Key": "r"})
        assert refused.status_code == 403 and "requester" in refused.json()["remedy"]
        assert (await intake.client.post("/v1/keys", json={"principal": "x", "roles": ["queen"]})).status_code == 422
        assert (await intake.client.delete(f"/v1/keys/{made.json()['key_id']}")).status_code == 204
        assert (await intake.client.get("/v1/usage", headers=rita)).status_code == 401
        assert (await intake.client.delete(f"/v1/keys/{me['key_id']}")).status_code == 409
        state = (await intake.all_said(WorkspaceChanged))[-1]
        assert [(key.principal, key.active) for key in state.keys] == [("admin", True), ("rita", False)] or [
            (key.principal, key.active) for key in state.keys
        ] == [("rita", False), ("admin", True)]
        assert me["token"] not in state.model_dump_json() and state.revision == 3
        for path in ("/v1/workspaces", "/v1/keys"):
            body = {"name": "x", "principal": "x", "roles": ["admin"], "workspace": me["workspace"]}
            stranger = {"Authorization": "Bearer guess"}
            assert (await intake.client.post(path, json=body, headers=stranger)).status_code in {401, 403, 422}
        taken = await intake.client.post("/v1/workspaces", json={"name": me["name"]}, headers=BOOTSTRAP)
        assert taken.status_code == 409 and taken.json()["where"] == me["workspace"]


async def test_a_workspace_sees_nothing_of_another(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        request = (await intake.submit("a")).headers["location"]
        batch = (await intake.expanded(await intake.send_file(CSV, campaign="winter")))["batch_id"]
        await intake.found("Another")
        for path in (request, f"/v1/batches/{batch}", f"/v1/batches/{batch}/rows", "/v1/library/brand/salt-linden"):
            assert (await intake.client.get(path)).status_code == 404, path
        assert (await intake.client.post(f"{request}/cancel")).status_code == 404
        assert (await intake.client.post(f"/v1/batches/{batch}/cancel")).status_code == 404
        assert (await intake.client.get("/v1/batches")).json() == []
        assert (await intake.client.get("/v1/library")).json() == []
        assert [item["name"] for item in (await intake.client.get("/v1/workspaces")).json()] == ["Another"]
        assert (await intake.submit("a")).json()["type"].endswith("unknown_campaign")


async def test_a_library_is_published_whole_or_not_at_all(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        broken = await intake.publish(*documents()[:-1], campaign(brand="other"))
        assert broken.status_code == 422
        assert {problem["where"] for problem in broken.json()["problems"]} >= {"brand"}
        assert (await intake.client.get("/v1/library")).json() == []
        assert len((await intake.publish()).json()["published"]) == 7
        again = (await intake.publish()).json()
        assert again["published"] == [] and len(again["unchanged"]) == 7
        changed = await intake.publish(brand(title="Other"))
        assert changed.status_code == 422 and "give it version 2" in changed.json()["remedy"]
        newer = await intake.publish(template(version=4, prompt="{{ product.name }} anew"))
        assert newer.status_code == 201
        assert (await intake.submit("a")).json()["template"] == "product-tile@4"
        assert (await intake.submit("b", template="product-tile@3")).json()["template"] == "product-tile@3"
        facts = await intake.all_said(LibraryItemChanged)
        assert len(facts) == 8 and all(fact.document is None for fact in facts)


async def test_bad_input_is_a_problem_with_place_and_remedy_and_never_a_stack_trace(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        cases: list[tuple[str, bytes, int, str, str]] = [
            ("{", b"{", 422, "not_json", ""),
            ("list", b"[1]", 422, "wrong_type", ""),
            ("field", orjson.dumps(GOOD | {"colour": 1}), 422, "unknown_field", "colour"),
            ("type", orjson.dumps(GOOD | {"skus": "A"}), 422, "wrong_type", "skus"),
            ("many", orjson.dumps(GOOD | {"variants": 101}), 422, "too_many_permutations", "variants"),
            ("nul", orjson.dumps(GOOD | {"variables": {"setting": "linen", "headline": "a\x00"}}), 422,
             "control_character", "variables.headline"),
            ("unit", orjson.dumps(GOOD | {"client_reference": "a\x1fb"}), 422, "control_character", "client_reference"),
            ("past", orjson.dumps(GOOD | {"deadline": "2020-01-01T00:00:00Z"}), 422, "out_of_range", "deadline"),
            ("naive", orjson.dumps(GOOD | {"deadline": "2120-01-01T00:00:00"}), 422, "malformed", "deadline"),
            ("large", orjson.dumps(GOOD | {"client_reference": "x" * 2_000_000}), 413, "too_large", "body"),
            ("latin", '{"campaign": "é"}'.encode("latin-1"), 422, "not_json", ""),
        ]  # fmt: skip
        for key, body, status, code, where in cases:
            answer = await intake.client.post("/v1/requests", content=body, headers={"Idempotency-Key": key})
            told = answer.json()
            assert (answer.status_code, told["type"], told.get("where", "")) == (
                status, f"urn:calotype:problem:{code}", where,
            ), told  # fmt: skip
            assert answer.headers["content-type"] == "application/problem+json" and told["remedy"]
        assert (await intake.client.post("/v1/requests", json=GOOD)).json()["type"].endswith("missing_idempotency_key")
        files: list[tuple[bytes, str, dict[str, str], int, str]] = [
            (b"", "text/csv", {"campaign": "winter"}, 422, "empty"),
            (b"key,asset_type\n", "text/csv", {"campaign": "winter"}, 422, "empty"),
            (b"sku,asset_type\nA,tile\n", "text/csv", {"campaign": "winter"}, 422, "missing_column"),
            (b"key,asset_type\na,tile\n", "text/csv", {}, 422, "missing_column"),
            (b"key,key,asset_type\na,b,tile\n", "text/csv", {"campaign": "winter"}, 422, "doubled"),
            (b'key,asset_type\n"a,tile\n', "text/csv", {"campaign": "winter"}, 422, "open_quote"),
            (b"\xff\xfek\x00", "text/csv", {"campaign": "winter"}, 422, "not_utf8"),
            (b"x", "image/png", {}, 415, "unsupported_media_type"),
            (b"key,asset_type\na,tile\n", "text/csv", {"campaign": "winter", "colour": "red"}, 422, "unknown_field"),
        ]
        for data, media_type, query, status, code in files:
            answer = await intake.send_file(data, media_type=media_type, **query)
            assert (answer.status_code, answer.json()["type"]) == (status, f"urn:calotype:problem:{code}"), answer.text
            assert answer.json()["remedy"]
        assert (await intake.client.get("/v1/library?kind=a%00b")).status_code == 422
        assert (await intake.client.get("/v1/library/brand/a%00b")).status_code == 422
        assert (await intake.client.post(f"/v1/requests/{uuid4()}/cancel", json={"reason": "\x00"})).status_code == 422
        assert await intake.all_said(RequestAccepted) == []


async def test_a_spreadsheets_file_is_read_as_it_was_saved(servers: EmbeddedServers, tmp_path: Path) -> None:
    head = "Key;SKU;Asset Type;Setting;Headline;Variants\r\n"
    text = head + 'a;OIL-100;tile;linen;"Café; ""ruhig"" –\r\nganz";2\r\n;;;;;\r\n'
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        for name, data in (("windows", text.encode("cp1252")), ("marked", b"\xef\xbb\xbf" + text.encode())):
            batch = await intake.expanded(await intake.send_file(data, campaign="winter", name=name))
            assert (batch["accepted"], batch["refused"], batch["delimiter"]) == (1, 0, ";")
        headlines = {fact.brief.headline for fact in await intake.all_said(RequestAccepted)}
        assert headlines == {'Café; "ruhig" –\r\nganz'}


@pytest.mark.timeout(400)
async def test_many_rows_are_taken_in_parts_and_memory_stays_flat(servers: EmbeddedServers, tmp_path: Path) -> None:
    rows = int(os.environ.get("CALOTYPE_ROWS", "40000"))

    async def written() -> AsyncIterator[bytes]:
        yield b"key,sku,asset_type,setting,season,locale,headline,variants,channels,priority,confidentiality\n"
        for start in range(0, rows, 500):
            lines = (
                f"r{number},OIL-100,tile,linen,winter,en,Row {number},1,web,normal,public\n"
                for number in range(start, start + 500)
            )
            yield "".join(lines).encode()

    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        before = highest = psutil.Process().memory_info().rss
        sent = await intake.client.post(
            "/v1/batches",
            content=written(),
            params={"campaign": "winter"},
            headers={"Content-Type": "text/csv"},
            timeout=120,
        )
        assert sent.json()["rows"] == rows, sent.text

        async def read() -> bool:
            nonlocal highest
            highest = max(highest, psutil.Process().memory_info().rss)
            return not await _state_is(intake, sent.json()["batch_id"], "expanding")

        await until(read, within=300, every=0.25)
        batch = (await intake.client.get(sent.json()["status"])).json()
        assert (batch["state"], batch["accepted"], batch["refused"], batch["jobs"]) == ("expanded", rows, 0, rows)
        assert await intake.service.database.fetchval("select count(*) from requests") == rows
        assert highest - before < rows * 1000, "as objects alone they would be more"


async def test_while_postgres_is_away_nobody_is_told_yes_and_nothing_that_was_sent_is_lost(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    url = urlsplit(await new_database(servers))
    line = Line(f"{url.hostname}:{url.port}")
    address = await line.start()
    there = url._replace(netloc=f"{url.username}:{url.password}@{address}").geturl()
    async with intake_on(servers, tmp_path, DATABASE_URL=there) as intake:
        await intake.found()
        await intake.publish()
        line.cut()
        away = await intake.submit("a")
        assert away.status_code == 503 and int(away.headers["retry-after"]) > 0
        assert away.headers["content-type"] == "application/problem+json"
        for number in range(20):
            await intake.ask(f"event-{number}", GOOD)
        assert (await intake.send_file(CSV, campaign="winter")).status_code == 503
        line.mend()
        assert (await intake.submit("a")).status_code == 202
        batch = await intake.expanded(await intake.send_file(CSV, campaign="winter"))
        assert batch["accepted"] == 2
        facts = await intake.said(RequestAccepted, 23)
        assert len({fact.request_id for fact in facts}) == 23
        assert len(await intake.all_said(RequestAccepted)) == 23
    await line.stop()


async def test_one_key_sent_many_times_at_once_makes_one_request(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        answers = await asyncio.gather(*(intake.submit("a") for _ in range(10)))
        codes = Counter(answer.status_code for answer in answers)
        assert codes[202] >= 1 and set(codes) <= {202, 409}
        assert len({answer.text for answer in answers if answer.status_code == 202}) == 1
        assert all(answer.json()["type"].endswith(":in_flight") for answer in answers if answer.status_code == 409)
        assert len(await intake.all_said(RequestAccepted)) == 1


async def test_a_file_is_not_replaced_while_it_is_being_read_and_a_cancelled_one_stops(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    header, row = CSV.splitlines()[:2]
    long = "\n".join([header, *(row.replace("oil-1", f"oil-{number}") for number in range(20_000))])
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        sent = (await intake.send_file(long, campaign="winter")).json()
        again = await intake.send_file(CSV, campaign="winter")
        assert again.status_code == 409 and again.json()["type"].endswith(":in_flight")
        assert (await intake.client.post(f"{sent['status']}/cancel")).status_code == 202
        await until(lambda: _state_is(intake, sent["batch_id"], "cancelled"))
        made = {fact.request_id for fact in await intake.all_said(RequestAccepted)}
        assert len(made) < 20_000
        assert {fact.request_id for fact in await intake.all_said(CancelRequested)} == made
