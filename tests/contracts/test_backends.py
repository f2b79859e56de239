"""What every inference backend must do; a new one joins by a line in `RIGS`."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import pytest_asyncio
import structlog.testing
from PIL import Image

from services.inference.backends import Backend, BackendFailure, Generated, Generation, GenerationCancelled, Source
from services.inference.backends.bedrock import BedrockBackend
from services.inference.backends.diffusion import DiffusionBackend, DiffusionOptions
from services.inference.backends.exchange import Provider
from services.inference.backends.openai import OpenAIBackend
from services.inference.backends.proof.backend import ProofBackend
from services.inference.backends.replicate import ReplicateBackend
from services.inference.backends.stability import StabilityBackend
from shared.blobs import EXTENSIONS
from shared.events import FailureReason
from shared.library.documents import Call
from tests.inference.generations import WORK
from tests.inference.scenes import scene
from tests.inference.tiny import tiny_model
from tests.servers.bedrock import KEY_ID, REGION, SECRET, Bedrock
from tests.servers.provider import Provider as Server
from tests.servers.provider import png
from tests.servers.replicate import Replicate
from tests.servers.stability import Stability

# One model process serves the module: torch loads slowly.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
PROVIDER = "acme"
KEY = "sk-very-secret"
PROOF = replace(WORK, width=96, height=64, scene=scene(form="candle"))
CALLED = replace(WORK, width=96, height=64, call=Call(provider=PROVIDER, timeout_seconds=10))


@dataclass(eq=False)
class Rig:
    """A backend, what it is asked, and how to make its next image fail half-way, from within the image's progress."""

    backend: Backend
    work: Generation
    spoil: Callable[[int, int], None] = lambda *_: None
    server: Server | None = None
    secrets: list[str] = field(default_factory=list)

    @property
    def bills(self) -> bool:
        return self.server is not None

    async def generate(self, work: Generation | None = None, **how: Any) -> Generated:
        given: dict[str, Any] = {"progress": lambda *_: None, "cancelled": lambda: False} | how
        return await self.backend.generate(work or self.work, **given)


def kill(of: str) -> None:
    for child in psutil.Process().children():
        if f"services.inference.backends.{of}" in " ".join(child.cmdline()):
            child.kill()


def proof() -> Rig:
    return Rig(ProofBackend(children=2), PROOF, lambda *_: kill("proof.child"))


def called(backend: Callable[[dict[str, Provider]], Backend], server: Server, model: str, **opens: Any) -> Rig:
    provider = Provider(url=server.url, **{"key": KEY} | opens)
    rig = Rig(backend({PROVIDER: provider}), replace(CALLED, model=model), server=server, secrets=[provider.key])
    rig.spoil = lambda *_: server.script.change({"next": ["reset"]})
    return rig


def openai(ledgers: Path) -> Rig:
    return called(OpenAIBackend, Server(ledgers), "gpt-image-1")


def stability(ledgers: Path) -> Rig:
    return called(StabilityBackend, Stability(ledgers), "sd3.5-large")


def replicate(ledgers: Path) -> Rig:
    return called(ReplicateBackend, Replicate(ledgers), "stability-ai/sdxl")


def bedrock(ledgers: Path) -> Rig:
    keys = {"key_id": KEY_ID, "key": SECRET, "region": REGION, "session": "a session of the tests"}
    return called(BedrockBackend, Bedrock(ledgers), "stability.sd3-5-large-v1:0", **keys)


def nova(ledgers: Path) -> Rig:
    rig = bedrock(ledgers)
    rig.work = replace(rig.work, model="amazon.nova-canvas-v1:0")
    return rig


PROVIDERS = {each.__name__: each for each in (openai, stability, replicate, bedrock, nova)}
DIFFUSION = pytest.param("diffusion", marks=pytest.mark.live)
RIGS = ("proof", DIFFUSION, *PROVIDERS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callable[[], Rig]]:
    """Its folder is written, and its process started, when it is first asked for."""
    folder = tmp_path_factory.mktemp("models")
    backend = DiffusionBackend(DiffusionOptions(models=folder))

    def diffusion() -> Rig:
        if not (folder / WORK.model).exists():
            tiny_model(folder / WORK.model)
        return Rig(backend, replace(WORK, width=96, height=64), lambda *_: kill("diffusion"))

    yield diffusion
    await backend.close()


@pytest_asyncio.fixture(loop_scope="module")
async def rig(request: pytest.FixtureRequest, tmp_path: Path, model: Callable[[], Rig]) -> AsyncIterator[Rig]:
    if request.param == "diffusion":
        yield model()
    elif request.param == "proof":
        opened = proof()
        yield opened
        await opened.backend.close()
    else:
        opened = PROVIDERS[request.param](tmp_path)
        assert opened.server is not None
        with opened.server:
            yield opened
        await opened.backend.close()


every_backend = pytest.mark.parametrize("rig", RIGS, indirect=True)
every_provider = pytest.mark.parametrize("rig", PROVIDERS, indirect=True)
every_editor = pytest.mark.parametrize("rig", [DIFFUSION, *PROVIDERS], indirect=True)


@every_backend
async def test_an_image_is_of_the_asked_size_and_of_the_type_it_says(rig: Rig) -> None:
    made = await rig.generate()
    with Image.open(io.BytesIO(made.image)) as image:
        image.load()
        assert image.size == (made.width, made.height) == (96, 64)
        assert image.get_format_mimetype() == made.media_type
    assert made.media_type in EXTENSIONS, "the store has to know it"


@every_backend
async def test_a_manifest_is_json_and_of_the_image_not_of_the_attempt(rig: Rig) -> None:
    first = (await rig.generate()).manifest
    again = (await rig.generate(replace(rig.work, attempt_id=UUID(int=99)))).manifest
    assert json.loads(json.dumps(first)) == again
    assert rig.work.prompt not in json.dumps(first), "the job's manifest has the prompt already"


@every_backend
async def test_progress_never_goes_back_and_ends_at_its_end(rig: Rig) -> None:
    told: list[tuple[int, int]] = []
    await rig.generate(progress=lambda step, steps: told.append((step, steps)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0


@every_backend
async def test_what_is_cancelled_before_it_begins_is_not_made(rig: Rig) -> None:
    with pytest.raises(GenerationCancelled) as caught:
        await rig.generate(cancelled=lambda: True)
    assert caught.value.billed is False, "it cost nothing, and sets no money aside"
    assert rig.server is None or rig.server.calls() == []


@every_backend
async def test_images_are_made_beside_each_other_each_its_own(rig: Rig) -> None:
    works = [replace(rig.work, attempt_id=UUID(int=number), seed=number) for number in range(1, 4)]
    made = await asyncio.gather(*(rig.generate(work) for work in works))
    assert len({each.image for each in made}) == 3


@every_backend
async def test_what_breaks_half_way_is_a_failure_with_a_reason_and_the_next_image_is_made(rig: Rig) -> None:
    with pytest.raises(BackendFailure) as caught:
        await rig.generate(progress=rig.spoil)
    assert caught.value.reason.value != "unknown" and caught.value.detail
    assert caught.value.uncertain == rig.bills, "only where somebody sends a bill does a broken call leave a doubt"
    assert (await rig.generate()).image


@every_backend
async def test_closing_twice_is_closing_once(rig: Rig) -> None:
    await rig.generate()
    await rig.backend.close()
    await rig.backend.close()


# -- whoever sends a bill

AWAY, CORRUPT, FILTERED = (
    FailureReason.BACKEND_UNAVAILABLE,
    FailureReason.CORRUPT_OUTPUT,
    FailureReason.CONTENT_FILTERED,
)
# What a provider does → what the failure says: its reason, tried again, busy, uncertain, billed.
MEANINGS: dict[str, tuple[FailureReason, bool, bool, bool, bool | None]] = {
    "429": (AWAY, True, True, False, False),
    "429_retry_after": (AWAY, True, True, False, False),
    "429_date": (AWAY, True, True, False, False),
    "500": (AWAY, True, False, False, False),
    "503": (AWAY, True, False, False, False),
    "moderation": (FILTERED, False, False, False, False),
    "content_policy": (FILTERED, False, False, False, False),
    "400": (FailureReason.INVALID_REQUEST, False, False, False, False),
    "422": (FailureReason.INVALID_REQUEST, False, False, False, False),
    "401": (AWAY, False, False, False, False),
    "402": (AWAY, False, False, False, False),
    "403": (AWAY, False, False, False, False),
    "404": (AWAY, False, False, False, False),
    "quota": (AWAY, False, False, False, False),
    "reset": (AWAY, False, False, True, None),
    "charge_then_reset": (AWAY, False, False, True, None),
    "charge_then_502": (AWAY, False, False, True, None),
    "page": (AWAY, False, False, True, None),
    "timeout": (AWAY, False, False, True, None),
    "model_error": (AWAY, False, False, True, None),
    "malformed": (CORRUPT, False, False, False, True),
    "empty": (CORRUPT, False, False, False, True),
    "cut_body": (CORRUPT, False, False, False, True),
    "no_images": (CORRUPT, False, False, False, True),
    "wrong_image": (CORRUPT, False, False, False, True),
    "not_an_image": (CORRUPT, False, False, False, True),
    "cut_image": (CORRUPT, False, False, False, True),
    "gone": (CORRUPT, False, False, False, True),
    "removed": (CORRUPT, False, False, False, True),
    "failed": (AWAY, False, False, True, None),
    "canceled": (AWAY, False, False, True, None),
    "nsfw": (FILTERED, False, False, True, None),
    "failed_before": (AWAY, True, False, False, False),
    "aborted": (AWAY, True, False, False, False),
}
# Where a provider's own words mean something else.
OWN = {
    ("stability", "moderation_200"): (FILTERED, False, False, False, True),
    ("bedrock", "moderation_200"): (FILTERED, False, False, False, False),
    ("bedrock", "moderation_made"): (FILTERED, False, False, True, None),
    ("bedrock", "inference_error"): (AWAY, False, False, True, None),
    ("nova", "moderation_made"): (FILTERED, False, False, True, None),
    # An order of which nothing can be read names no prediction that could be asked for.
    ("replicate", "malformed"): (AWAY, False, False, True, None),
    ("replicate", "empty"): (AWAY, False, False, True, None),
    ("replicate", "cut_body"): (AWAY, False, False, True, None),
}
SHAPES = [
    (name, choice)
    for name in PROVIDERS
    for choice in {"openai": Server, "stability": Stability, "replicate": Replicate}.get(name, Bedrock).choices()
    if choice in MEANINGS or (name, choice) in OWN
]


@pytest.mark.parametrize(("rig", "choice"), SHAPES, indirect=["rig"])
async def test_each_failure_is_one_call_with_its_reason_and_its_money(
    rig: Rig, choice: str, request: pytest.FixtureRequest
) -> None:
    assert rig.server is not None
    name = request.node.callspec.params["rig"]
    rig.server.script.change({"next": [choice], "retry_after": 7})
    with structlog.testing.capture_logs() as logs, pytest.raises(BackendFailure) as caught:
        await rig.generate()
    failure = caught.value
    said = (failure.reason, failure.retriable, failure.busy, failure.uncertain, failure.billed)
    assert said == OWN.get((name, choice), MEANINGS.get(choice))
    assert len(rig.server.calls()) == 1, "only the queue repeats a call"
    if failure.billed is not None:
        assert failure.billed == bool(rig.server.charges())
    if choice in {"429_retry_after", "429_date"}:
        assert failure.after is not None and 6 <= failure.after <= 7
    assert (failure.remedy is not None) == (choice in {"401", "402", "403", "404", "quota"})
    assert failure.latency_seconds is not None
    for secret in (*rig.secrets, rig.work.prompt):
        assert secret not in f"{failure.detail} {failure!r} {failure.remedy} {logs}"


@every_provider
@pytest.mark.parametrize("choice", ["hang", "charge_then_hang"])
async def test_silence_is_uncertain_when_the_call_s_time_is_over(rig: Rig, choice: str) -> None:
    assert rig.server is not None
    rig.server.script.change({"next": [choice]})
    within = 0.5  # less than a table may say
    with pytest.raises(BackendFailure) as caught:
        await rig.generate(replace(rig.work, call=Call.model_construct(provider=PROVIDER, timeout_seconds=within)))
    assert (caught.value.reason, caught.value.uncertain) == (FailureReason.MODEL_TIMEOUT, True)
    assert caught.value.latency_seconds is not None and caught.value.latency_seconds >= within
    assert len(rig.server.calls()) == 1, "it was sent, and then nothing came"


@every_provider
@pytest.mark.parametrize("choice", ["ok", "slow", "wrong_type"])
async def test_a_picture_is_kept_as_it_came_with_the_provider_s_id(rig: Rig, choice: str) -> None:
    """A label that is wrong costs nothing that was paid for."""
    assert rig.server is not None
    rig.server.script.change({"next": [choice], "slow_seconds": 0.01})
    kept: list[str] = []

    async def keep(provider_id: str) -> None:
        kept.append(provider_id)

    made = await rig.generate(replace(rig.work, keep_id=keep))
    assert made.image == png(96, 64, seed="0/charge-000001")
    assert made.cost is None, "the routes know the price"
    assert made.charges == len(rig.server.charges()) == 1
    assert kept == [made.provider_request_id] and kept[0]
    assert made.latency_seconds is not None
    assert [call["attempt_id"] for call in rig.server.calls()] == [str(rig.work.attempt_id)]


@pytest.mark.parametrize("rig", ["openai", "replicate", "bedrock", "nova"], indirect=True)
async def test_two_pictures_of_one_call_are_charged_twice_and_that_is_said(rig: Rig) -> None:
    assert rig.server is not None
    rig.server.script.change({"next": ["two_images"]})
    with structlog.testing.capture_logs() as logs:
        made = await rig.generate()
    assert made.charges == len(rig.server.charges()) == 2
    assert [line["event"] for line in logs] == ["provider.charged_more"]


def source(role: str) -> Source:
    if role == "reference":
        return Source(role=role, data=png(96, 64, seed="a"), media_type="image/png", width=96, height=64)
    buffer = io.BytesIO()
    mask = Image.new("L", (96, 64), 0)
    mask.paste(255, (0, 0, 48, 64))
    mask.save(buffer, "PNG")
    return Source(role=role, data=buffer.getvalue(), media_type="image/png", width=96, height=64)


@every_editor
@pytest.mark.parametrize("roles", [["reference"], ["reference", "mask"]])
async def test_an_image_starts_from_its_sources_and_its_manifest_names_them(rig: Rig, roles: list[str]) -> None:
    sources = tuple(source(role) for role in roles)
    made = await rig.generate(replace(rig.work, sources=sources, strength=0.5))
    if rig.server is not None:
        assert [call["pictures"] for call in rig.server.calls()] == [len(roles)]
    assert made.manifest["sources"] == [
        {"role": each.role, "sha256": hashlib.sha256(each.data).hexdigest()} for each in sources
    ]
    assert len(json.dumps(made.manifest)) < 10_000, "hashes and no pictures"


@every_editor
async def test_a_mask_without_a_picture_is_refused_before_anything_is_made(rig: Rig) -> None:
    with pytest.raises(BackendFailure) as caught:
        await rig.generate(replace(rig.work, sources=(source("mask"),)))
    assert caught.value.reason is FailureReason.INVALID_REQUEST
    assert caught.value.billed is (False if rig.bills else None)
    assert rig.server is None or rig.server.calls() == []
