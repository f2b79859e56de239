"""The `openai` backend against a real server that fails in every documented way: what is booked, what is repeated."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.exchange import Provider
from services.inference.backends.openai import OpenAIBackend
from shared.library.documents import Call
from tests.inference.generations import WORK
from tests.servers.provider import Provider as Server
from tests.servers.provider import png

KEY = "sk-very-secret"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


@pytest.fixture
async def backend(server: Server) -> AsyncIterator[OpenAIBackend]:
    opened = OpenAIBackend({"acme": Provider(url=server.url, key=KEY)})
    yield opened
    await opened.close()


def work(attempt: int = 2, **call: Any) -> Generation:
    asked = Call.model_validate({"provider": "acme", "timeout_seconds": 10} | call)
    return replace(WORK, attempt_id=UUID(int=attempt), model="gpt-image-1", call=asked)


async def generate(backend: OpenAIBackend, asked: Generation | None = None, *, cancelled: bool = False) -> Generated:
    return await backend.generate(asked or work(), progress=lambda *_: None, cancelled=lambda: cancelled)


async def failure_of(backend: OpenAIBackend, asked: Generation | None = None) -> BackendFailure:
    with pytest.raises(BackendFailure) as caught:
        await generate(backend, asked)
    assert KEY not in caught.value.detail
    assert WORK.prompt not in caught.value.detail
    return caught.value


def test_the_quality_that_is_priced_is_the_one_that_is_asked_for(backend: OpenAIBackend) -> None:
    assert json.loads(backend.request_of(work(quality="high")).content)["quality"] == "high"
    assert "quality" not in json.loads(backend.request_of(work()).content)


async def test_a_picture_at_an_address_is_fetched_as_it_is(server: Server, backend: OpenAIBackend) -> None:
    server.script.change({"next": ["url"]})
    assert (await generate(backend)).image == png(64, 64, seed="0/charge-000001")


async def test_a_database_that_hangs_costs_an_answer_nothing(
    server: Server, backend: OpenAIBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.inference.backends.exchange.KEEP_SECONDS", 0.01)

    async def hang(_: str) -> None:
        await asyncio.Event().wait()

    assert (await generate(backend, replace(work(timeout_seconds=5), keep_id=hang))).provider_request_id


async def test_only_what_the_server_takes_is_sent_and_the_manifest_says_what_is_missing(
    server: Server, backend: OpenAIBackend
) -> None:
    plain = (await generate(backend)).manifest
    assert plain["request"] == {"model": "gpt-image-1", "n": 1, "size": "64x64"}
    assert plain["seed_is_reproducible"] is False
    assert plain["not_sent"] == ["guidance", "negative_prompt", "seed", "steps"]
    server.script.change({"takes_seed": True})
    seeded = (await generate(backend, work(takes=["seed", "negative_prompt"]))).manifest
    assert seeded["request"]["seed"] == WORK.seed
    assert seeded["seed_is_reproducible"] is True
    assert "people" not in json.dumps(seeded)


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else takes it
        backend = OpenAIBackend({"acme": Provider(url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", key=KEY)})
        failure = await failure_of(backend)
        await backend.close()
    assert (failure.retriable, failure.uncertain, failure.billed) == (True, False, False)


async def test_the_end_of_the_process_leaves_a_sent_call_uncertain(server: Server, backend: OpenAIBackend) -> None:
    server.script.change({"next": ["charge_then_hang"]})
    call = asyncio.create_task(generate(backend))
    async with asyncio.timeout(10):
        while not server.charges():
            await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(BackendFailure) as caught:
        await call
    assert caught.value.uncertain


async def test_a_cancelled_job_is_not_sent(server: Server, backend: OpenAIBackend) -> None:
    with pytest.raises(GenerationCancelled) as caught:
        await generate(backend, cancelled=True)
    assert caught.value.billed is False
    assert server.calls() == []


@pytest.mark.parametrize("asked", [work(provider="other"), replace(WORK, call=None)])
async def test_a_provider_nobody_named_is_not_called(backend: OpenAIBackend, asked: Generation) -> None:
    failure = await failure_of(backend, asked)
    assert not failure.retriable and failure.billed is False
    assert "CALOTYPE_PROVIDERS" in (failure.remedy or "")


async def test_a_provider_s_key_is_in_no_representation_of_it() -> None:
    assert KEY not in repr(Provider(url="http://x/v1", key=KEY))


async def test_a_picture_elsewhere_is_fetched_over_https_only(
    server: Server, backend: OpenAIBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "publish", lambda *_: "http://169.254.169.254/latest/meta-data")
    server.script.change({"next": ["url"]})
    failure = await failure_of(backend)
    assert failure.billed is True
    assert failure.detail == "the picture lies at an address that is not https"
