"""One trace from the caller's request to the publication, read back parent by parent from a real OTLP receiver."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from deploy.local.servers import EmbeddedServers
from tests.live.pipeline import LIBRARY, pipeline
from tests.live.publishing import until
from tests.servers.otlp import Link, Receiver, Span, otlp_receiver

# From a publication back to the request, service and span. The catalog's ledger edge records none, by design.
LIFE = [
    ("calotype-publisher", "publish asset"),
    ("calotype-publisher", "assets-approved.v1 process"),
    ("calotype-catalog", "asset decide"),
    ("calotype-postprocess", "process image"),
    ("calotype-postprocess", "images-generated.v1 process"),
    ("calotype-inference", "generate proof"),
    ("calotype-inference", "prompts-assembled.v1 process"),
    ("calotype-prompt", "requests-accepted.v1 process"),
    ("calotype-intake", "POST /v1/requests"),
]


def new_traceparent(*, sampled: bool = True) -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-0{int(sampled)}"


@dataclass
class Traced:
    """All six services, and somebody who may do everything in one workspace."""

    url: str
    bootstrap: str
    receiver: Receiver

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False) as client:
            asked = {"name": f"traced {secrets.token_hex(4)}", "undo_seconds": 0}
            made = await client.post("/v1/workspaces", json=asked, headers=bearer(self.bootstrap))
            client.headers.update(bearer(made.raise_for_status().json()["token"]))
            published = await client.post("/v1/library", json={"documents": LIBRARY})
            assert published.is_success, published.text

            async def known() -> bool:
                answers = [await client.get(path) for path in ("/v1/targets", "/v1/assets", "/v1/queue")]
                return all(answer.is_success for answer in answers) and bool(answers[0].json()["targets"])

            await until(known)
            yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def traced(servers: EmbeddedServers) -> Iterator[Traced]:
    with otlp_receiver() as receiver, pipeline(servers, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint) as running:
        yield Traced(running.supervisor.url, running.data.secret("bootstrap_token"), receiver)


async def publish_one(client: httpx.AsyncClient, *, asked_under: str, decided_under: str) -> dict[str, Any]:
    """One request to its publication; returns the publication."""
    ask = {"campaign": "winter", "asset_type": "tile", "channels": ["web"], "variables": {"headline": "Slow evenings"}}
    headers = {"Idempotency-Key": secrets.token_hex(8), "traceparent": asked_under}
    accepted = await client.post("/v1/requests", json=ask, headers=headers)
    assert accepted.status_code == 202, accepted.text
    request = {"request": accepted.json()["request_id"]}
    waiting: list[dict[str, Any]] = []

    async def reviewable() -> bool:
        waiting[:] = (await client.get("/v1/assets", params=request)).json()["assets"]
        return bool(waiting)

    await until(reviewable, seconds=60)
    (asset,) = waiting
    verdict = {"asset_version": asset["asset_version"], "decision": "approve"}
    address = f"/v1/assets/{asset['asset_id']}/decisions"
    (await client.post(address, json=verdict, headers={"traceparent": decided_under})).raise_for_status()
    published: list[dict[str, Any]] = []

    async def delivered() -> bool:
        found = (await client.get("/v1/publications", params=request)).json()["publications"]
        published[:] = [row for row in found if row["state"] == "delivered"]
        return bool(published)

    await until(delivered, seconds=60)
    return published[0]


def last_of(receiver: Receiver, traceparent: str) -> Span:
    """The span of the publication, once its whole line is here."""
    trace_id = traceparent.split("-")[1]
    found: list[Span] = []

    def heard() -> bool:
        service, name = LIFE[0]
        found[:] = receiver.spans(trace_id=trace_id, service=service, name=name)
        return bool(found) and len(receiver.ancestry(found[0])) >= len(LIFE)

    receiver.wait(heard, seconds=30)
    return found[0]


def linked(receiver: Receiver, link: Link) -> Span:
    """What a link points to: it may end after the span that has the link, and be exported later."""
    receiver.wait(lambda: receiver.get(link.trace_id, link.span_id) is not None, seconds=30)
    found = receiver.get(link.trace_id, link.span_id)
    assert found is not None
    return found


async def test_a_publication_is_traced_back_to_its_caller_parent_by_parent(traced: Traced) -> None:
    asked_under, decided_under = new_traceparent(), new_traceparent()
    async with traced.admin() as client:
        await publish_one(client, asked_under=asked_under, decided_under=decided_under)
    last = await asyncio.to_thread(last_of, traced.receiver, asked_under)
    line = traced.receiver.ancestry(last)
    assert [(span.service, span.name) for span in line] == LIFE
    assert line[-1].parent_id == asked_under.split("-")[2]
    assert line[-1].kind == "server"
    assert traced.receiver.spans(http__route="/readyz") == []

    for span in line:
        if span.name.endswith(" process"):
            assert span.kind == "consumer"
            (link,) = span.links
            batch = await asyncio.to_thread(linked, traced.receiver, link)
            assert (batch.service, batch.parent_id) == (span.service, "")
            assert batch.trace_id != span.trace_id
        else:
            assert span.started <= span.ended

    # The person's request belongs to another trace; the decision is under the asset and points to it.
    (decision,) = (span for span in line if span.name == "asset decide")
    (link,) = decision.links
    clicked = await asyncio.to_thread(linked, traced.receiver, link)
    assert clicked.name == "POST /v1/assets/{asset_id}/decisions"
    assert (clicked.trace_id, clicked.parent_id) == tuple(decided_under.split("-")[1:3])


async def test_a_caller_who_does_not_sample_costs_no_span(traced: Traced) -> None:
    unsampled, sampled = new_traceparent(sampled=False), new_traceparent()
    async with traced.admin() as client:
        await publish_one(client, asked_under=unsampled, decided_under=unsampled)
        # One that is sampled goes the same way afterwards: when its last span is here, the other's would be too.
        await publish_one(client, asked_under=sampled, decided_under=sampled)
    await asyncio.to_thread(last_of, traced.receiver, sampled)
    assert traced.receiver.spans(trace_id=unsampled.split("-")[1]) == []


async def test_each_row_of_a_batch_has_a_trace_of_its_own_linked_to_the_files(traced: Traced) -> None:
    sent_under = new_traceparent()
    table = "key,campaign,asset_type,headline,channels\n" + "".join(
        f"r{n},winter,tile,Evening {n},web\n" for n in range(3)
    )
    async with traced.admin() as client:
        headers = {"traceparent": sent_under, "content-type": "text/csv"}
        sent = await client.post("/v1/batches", params={"name": "b"}, content=table.encode(), headers=headers)
        assert sent.status_code == 202, sent.text
    rows: list[Span] = []

    def all_begun() -> bool:
        rows[:] = [
            span
            for span in traced.receiver.spans(service="calotype-intake", name="row")
            if [link.trace_id for link in span.links] == [sent_under.split("-")[1]]
        ]
        return len(rows) == 3 and bool(traced.receiver.spans(trace_id=sent_under.split("-")[1]))

    await asyncio.to_thread(traced.receiver.wait, all_begun)
    assert len({row.trace_id for row in rows} | {sent_under.split("-")[1]}) == 4
    (sending,) = traced.receiver.spans(trace_id=sent_under.split("-")[1], name="POST /v1/batches")
    assert {link.span_id for row in rows for link in row.links} == {sending.span_id}
    assert [row.parent_id for row in rows] == ["", "", ""]
