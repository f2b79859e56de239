"""`/v1/events`: what changes arrives as it changes, goes on where it was cut, and stays within the workspace."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson

from deploy.local.servers import EmbeddedServers
from tests.catalog.facts import Request
from tests.live.cataloguing import Catalog, catalog, verdict

Told = tuple[str, dict[str, Any], str | None]


@asynccontextmanager
async def listening(running: Catalog, *, after: int | None = None, last: str | None = None) -> AsyncIterator[Any]:
    headers = {"Last-Event-ID": last} if last is not None else {}
    params = {"after": after} if after is not None else {}
    async with running.ada.stream("GET", "/v1/events", headers=headers, params=params, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield told(answer)


async def told(answer: httpx.Response) -> AsyncIterator[Told]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "event" in fields:
            yield fields["event"], orjson.loads(fields["data"]), fields.get("id")
        fields = {}


async def until(stream: AsyncIterator[Told], kind: str, **wanted: Any) -> Told:
    async with asyncio.timeout(30):
        async for event in stream:
            if event[0] == kind and wanted.items() <= event[1].items():
                return event
    raise AssertionError("the stream ended")


async def test_a_listener_hears_jobs_assets_and_decisions(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running, listening(running) as stream:
        await until(stream, "heartbeat")
        request, foreign = Request(name="live"), Request(name="foreign", workspace=uuid4())
        (job,) = request.jobs
        facts = [*foreign.life(), *request.life()]
        await running.send(*facts)
        heard: list[Told] = []
        async with asyncio.timeout(30):
            async for event in stream:
                heard.append(event)
                if event[:2] == ("asset", {"asset_id": str(job.asset_id), "status": "completed"}):
                    break
        assert {e[1]["job_id"] for e in heard if e[0] == "job"} == {str(job.job_id)}
        await running.heard(*facts)
        (asset,) = await running.assets()
        await running.ada.post(f"/v1/assets/{job.asset_id}/decisions", json=verdict(asset))
        _, decided, _ = await until(stream, "decision", asset_id=str(job.asset_id))
        assert (decided["status"], decided["by"]) == ("approved", "ada")


async def test_a_stream_that_was_cut_goes_on_where_it_was(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        first, second = Request(name="before"), Request(name="meanwhile")
        async with listening(running) as stream:
            await running.hear(*first.life())
            await until(stream, "asset")
            _, _, last = await until(stream, "heartbeat")
        await running.hear(*second.life())
        for resumed in (listening(running, last=last), listening(running, after=int(last or 0))):
            async with resumed as stream:
                _, asset, _ = await until(stream, "asset")
                assert asset["asset_id"] == str(second.jobs[0].asset_id)


async def test_whoever_missed_what_is_thrown_away_is_told_so(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        for name in ("one", "two", "three"):
            await running.hear(*Request(name=name).life())
        await running.sql("delete from feed where id < (select max(id) from feed)")
        async with listening(running, after=0) as stream:
            await until(stream, "reset")
