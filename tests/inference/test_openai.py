"""The `openai` backend against a real server that fails in every documented way: what is booked, what is repeated."""

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.openai import OpenAIBackend, Provider, request_of
from services.inference.backends.picture import NotAPicture, inspect
from shared.events import FailureReason
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


def test_the_quality_that_is_priced_is_the_one_that_is_asked_for() -> None:
    asked = work(quality="high")
    assert asked.call is not None
    assert request_of(asked, asked.call)["quality"] == "high"
    assert "quality" not in request_of(work(), Call(provider="acme"))


@pytest.mark.parametrize("choice", ["ok", "url", "slow"])
async def test_a_picture_is_kept_as_it_came_with_the_provider_s_id(
    server: Server, backend: OpenAIBackend, choice: str
) -> None:
    server.script.change({"next": [choice], "slow_seconds": 0.01})
    kept: list[str] = []

    async def keep(provider_id: str) -> None:
        kept.append(provider_id)

    made = await generate(backend, replace(work(), keep_id=keep))
    assert made.image == png(64, 64, seed="0/charge-000001")
    assert (made.width, made.height, made.media_type) == (64, 64, "image/png")
    assert made.cost is None, "the routes know the price"
    assert kept == [made.provider_request_id] and kept[0].startswith("req_")
    assert [call["attempt_id"] for call in server.calls()] == [str(UUID(int=2))]


async def test_a_database_that_hangs_costs_an_answer_nothing(
    server: Server, backend: OpenAIBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.inference.backends.openai.KEEP_SECONDS", 0.01)

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


# reason, tried again, uncertain, billed
SHAPES = {
    "429": (FailureReason.BACKEND_UNAVAILABLE, True, False, False),
    "429_retry_after": (FailureReason.BACKEND_UNAVAILABLE, True, False, False),
    "quota": (FailureReason.BACKEND_UNAVAILABLE, False, False, False),
    "500": (FailureReason.BACKEND_UNAVAILABLE, True, False, False),
    "503": (FailureReason.BACKEND_UNAVAILABLE, True, False, False),
    "moderation": (FailureReason.CONTENT_FILTERED, False, False, False),
    "content_policy": (FailureReason.CONTENT_FILTERED, False, False, False),
    "400": (FailureReason.INVALID_REQUEST, False, False, False),
    "401": (FailureReason.BACKEND_UNAVAILABLE, False, False, False),
    "403": (FailureReason.BACKEND_UNAVAILABLE, False, False, False),
    "reset": (FailureReason.BACKEND_UNAVAILABLE, False, True, None),
    "charge_then_reset": (FailureReason.BACKEND_UNAVAILABLE, False, True, None),
    "charge_then_502": (FailureReason.BACKEND_UNAVAILABLE, False, True, None),
    "malformed": (FailureReason.CORRUPT_OUTPUT, False, False, True),
    "empty": (FailureReason.CORRUPT_OUTPUT, False, False, True),
    "no_images": (FailureReason.CORRUPT_OUTPUT, False, False, True),
    "wrong_image": (FailureReason.CORRUPT_OUTPUT, False, False, True),
    "not_an_image": (FailureReason.CORRUPT_OUTPUT, False, False, True),
    "cut_image": (FailureReason.CORRUPT_OUTPUT, False, False, True),
    "cut_body": (FailureReason.CORRUPT_OUTPUT, False, False, True),
}


@pytest.mark.parametrize("choice", SHAPES)
async def test_each_failure_is_one_call_with_its_reason_and_its_money(
    server: Server, backend: OpenAIBackend, choice: str
) -> None:
    server.script.change({"next": [choice], "retry_after": 7})
    failure = await failure_of(backend)
    assert (failure.reason, failure.retriable, failure.uncertain, failure.billed) == SHAPES[choice]
    assert failure.after == (7 if choice == "429_retry_after" else None)
    assert len(server.calls()) == 1, "only the queue repeats a call"
    if failure.billed is not None:
        assert failure.billed == bool(server.charges())
    assert (failure.remedy is not None) == (choice in {"401", "403", "quota"})
    if choice not in {"reset", "charge_then_reset"}:
        assert (failure.provider_request_id or "").startswith("req_")


@pytest.mark.parametrize("choice", ["hang", "charge_then_hang"])
async def test_silence_is_uncertain_when_the_call_s_time_is_over(
    server: Server, backend: OpenAIBackend, choice: str
) -> None:
    server.script.change({"next": [choice]})
    failure = await failure_of(backend, work(timeout_seconds=1))
    assert (failure.reason, failure.uncertain) == (FailureReason.MODEL_TIMEOUT, True)


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


def picture(format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((70, 50), 40).save(buffer, format, **options)
    return buffer.getvalue()


FORMATS = {
    "png": picture("PNG"),
    "jpeg": picture("JPEG"),
    "progressive jpeg": picture("JPEG", progressive=True),
    "webp": picture("WEBP"),
    "lossless webp": picture("WEBP", lossless=True),
    "webp with metadata": picture("WEBP", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_type_and_size_are_read_as_pillow_reads_them(name: str) -> None:
    facts = inspect(FORMATS[name])
    with Image.open(io.BytesIO(FORMATS[name])) as image:
        assert facts == (image.get_format_mimetype(), *image.size)


@pytest.mark.parametrize("name", FORMATS)
def test_a_torn_file_is_no_picture_wherever_it_is_torn(name: str) -> None:
    data = FORMATS[name]
    for length in range(0, len(data) - 40, 7):
        with pytest.raises(NotAPicture):
            inspect(data[:length])


def test_a_changed_byte_of_a_png_is_seen_wherever_it_is() -> None:
    data = FORMATS["png"]
    for place in range(0, len(data), 11):
        changed = bytearray(data)
        changed[place] ^= 0x10
        with pytest.raises(NotAPicture):
            inspect(bytes(changed))
