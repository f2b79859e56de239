"""What each provider is sent, in its own words; and what is read of the answers that all of them give."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from services.inference.app import open_backends
from services.inference.backends import BackendFailure, Generated, Generation, Source
from services.inference.backends.answers import Answer, retry_after
from services.inference.backends.bedrock import BedrockBackend
from services.inference.backends.exchange import Provider, Request
from services.inference.backends.masks import as_alpha, inverted
from services.inference.backends.openai import OpenAIBackend
from services.inference.backends.providers import ProviderBackend
from services.inference.backends.replicate import ReplicateBackend
from services.inference.backends.stability import StabilityBackend
from services.inference.hooks import Wakes
from services.inference.settings import InferenceSettings
from shared.errors import Unavailable
from shared.events import FailureReason
from shared.library.documents import Call
from shared.pictures import Admitted, Limits, admitted
from tests.inference.generations import WORK
from tests.servers.provider import Provider as Server
from tests.servers.provider import png
from tests.servers.replicate import LATER_SECONDS, Replicate

CALL = Call(provider="acme", timeout_seconds=10)
ASKED = replace(WORK, width=1216, height=832, call=CALL)
NOBODY = Provider(url="http://127.0.0.1:1", key="k")


def drawing(mode: str = "L") -> bytes:
    """Half white, half black."""
    image, buffer = Image.new("L", (96, 64), 0), io.BytesIO()
    image.paste(255, (0, 0, 48, 64))
    image.convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def source(role: str, data: bytes = b"a picture", size: tuple[int, int] = (1216, 832)) -> Source:
    return Source(role=role, data=data, media_type="image/png", width=size[0], height=size[1])


def form_of(request: Request) -> dict[str, str]:
    return {name: data.decode() for name, (file, data, _) in request.form if file is None}


# -- what is sent


@pytest.mark.parametrize(
    ("model", "place"),
    [("core", "generate/core"), ("ultra", "generate/ultra"), ("sd3.5-large", "generate/sd3")],
)
def test_stability_is_asked_for_a_shape_where_its_model_lives(model: str, place: str) -> None:
    request = StabilityBackend({}).request_of(replace(ASKED, model=model))
    form = form_of(request)
    assert request.path == f"/v2beta/stable-image/{place}"
    assert (form["aspect_ratio"], form["seed"], form["negative_prompt"]) == ("3:2", "7", "people")
    assert form.get("model") == (model if place.endswith("sd3") else None)
    assert "prompt" not in request.told and request.is_seeded


def test_stability_s_turbo_has_no_word_for_what_not_to_draw() -> None:
    assert "negative_prompt" not in form_of(StabilityBackend({}).request_of(replace(ASKED, model="sd3.5-large-turbo")))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"width": 1216, "height": 600}, "cannot make 1216 × 600 px"),
        ({"model": "core", "sources": (source("reference"),)}, "cannot start `core` from a picture"),
        ({"sources": (source("reference", size=(64, 64)),)}, "another size of a 64 × 64 px reference"),
        ({"sources": (source("reference"), source("reference"))}, "second reference"),
        ({"sources": (source("depth"),)}, "use a depth"),
        ({"sources": (source("mask"),)}, "a mask without a picture"),
    ],
)
def test_what_stability_cannot_do_is_said_before_it_is_asked(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BackendFailure, match=why) as caught:
        StabilityBackend({}).request_of(replace(ASKED, **{"model": "ultra"} | fields))
    assert (caught.value.reason, caught.value.billed) == (FailureReason.INVALID_REQUEST, False)


@pytest.mark.parametrize("size", [(1344, 768), (1536, 640), (832, 1216), (1088, 896), (640, 1536), (1024, 1024)])
def test_every_size_that_stability_makes_has_its_shape(size: tuple[int, int]) -> None:
    work = replace(ASKED, width=size[0], height=size[1], model="sd3.5-large")
    ratio = form_of(StabilityBackend({}).request_of(work))["aspect_ratio"]
    width, height = (int(side) for side in ratio.split(":"))
    assert abs(size[0] / size[1] / (width / height) - 1) < 0.04


@pytest.mark.parametrize(
    ("sources", "task", "holds"),
    [
        ((), "TEXT_IMAGE", {"textToImageParams": {"text": WORK.prompt, "negativeText": "people"}}),
        ((source("reference"),), "IMAGE_VARIATION", {}),
        ((source("reference"), source("mask", drawing())), "INPAINTING", {}),
    ],
)
def test_amazon_s_models_are_asked_by_the_task(sources: tuple[Source, ...], task: str, holds: dict[str, Any]) -> None:
    work = replace(ASKED, model="amazon.nova-canvas-v1:0", sources=sources, strength=0.3, seed=2**40)
    request = BedrockBackend({}).request_of(work)
    body = json.loads(request.content)
    assert request.path == "/model/amazon.nova-canvas-v1%3A0/invoke"
    assert body["taskType"] == task and holds.items() <= body.items()
    assert body["imageGenerationConfig"]["seed"] < 858_993_460
    if task == "IMAGE_VARIATION":
        assert body["imageVariationParams"]["similarityStrength"] == 0.7
    assert WORK.prompt not in json.dumps(request.told)


def test_a_quality_is_asked_for_or_said_not_to_be() -> None:
    call = Call(provider="acme", quality="premium")
    asked = BedrockBackend({}).request_of(replace(ASKED, model="amazon.nova-canvas-v1:0", call=call))
    assert json.loads(asked.content)["imageGenerationConfig"]["quality"] == "premium"
    requests = [
        BedrockBackend({}).request_of(replace(ASKED, model="stability.sd3-5-large-v1:0", call=call)),
        StabilityBackend({}).request_of(replace(ASKED, model="ultra", call=call)),
        ReplicateBackend({}).request_of(replace(ASKED, model="a/b", call=call)),
    ]
    assert all("quality" in request.not_sent for request in requests)


def test_a_scheduler_that_a_template_locks_is_said_not_to_be_sent() -> None:
    for scheduler, not_sent in (("default", False), ("euler", True)):
        work = replace(ASKED, model="ultra", scheduler=scheduler)
        assert ("scheduler" in StabilityBackend({}).request_of(work).not_sent) == not_sent


PICTURE_AND_MASK = (source("reference", drawing()), source("mask", drawing()))


@pytest.mark.parametrize(
    ("backend", "model", "sources", "not_sent"),
    [
        (StabilityBackend({}), "ultra", (), set()),
        (StabilityBackend({}), "ultra", (source("reference"),), set()),
        (StabilityBackend({}), "sd3.5-large-turbo", (source("reference"),), {"negative_prompt"}),
        (StabilityBackend({}), "ultra", PICTURE_AND_MASK, {"strength"}),
        (BedrockBackend({}), "stability.sd3-5-large-v1:0", (source("reference"),), set()),
        (BedrockBackend({}), "stability.sd3-5-large-v1:0", PICTURE_AND_MASK, {"strength"}),
        (BedrockBackend({}), "amazon.nova-canvas-v1:0", (source("reference"),), set()),
        (BedrockBackend({}), "amazon.nova-canvas-v1:0", PICTURE_AND_MASK, {"strength"}),
        (ReplicateBackend({}), "a/b", PICTURE_AND_MASK, {"negative_prompt"}),
    ],
)
def test_what_a_provider_is_not_told_stands_in_the_manifest(
    backend: ProviderBackend, model: str, sources: tuple[Source, ...], not_sent: set[str]
) -> None:
    strength = 0.4 if sources else None
    work = replace(ASKED, model=model, sources=sources, strength=strength, negative_prompt="people")
    assert backend.request_of(work).not_sent & {"negative_prompt", "strength", "quality"} == not_sent


def test_bedrock_s_other_models_are_not_guessed_at() -> None:
    with pytest.raises(BackendFailure, match=r"luma\.ray-v2"):
        BedrockBackend({}).request_of(replace(ASKED, model="luma.ray-v2:0"))


@pytest.mark.parametrize("missing", ["key_id", "key", "region"])
async def test_bedrock_without_a_key_to_sign_with_is_not_called(missing: str) -> None:
    keys = {"key_id": "a", "key": "b", "region": "c", missing: ""}
    backend = BedrockBackend({"acme": Provider(url=NOBODY.url, **keys)})
    with pytest.raises(BackendFailure, match="no key to sign with") as caught:
        await generate(backend, replace(ASKED, model="amazon.titan-image-generator-v2:0"))
    assert "CALOTYPE_PROVIDERS" in (caught.value.remedy or "")
    await backend.close()


VERSION = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        ("stability-ai/sdxl", "/models/stability-ai/sdxl/predictions", None),
        (f"stability-ai/sdxl:{VERSION}", "/predictions", VERSION),
    ],
)
def test_replicate_is_asked_by_model_or_by_version(model: str, path: str, version: str | None) -> None:
    call = Call(provider="acme", timeout_seconds=90, takes=["seed", "steps"])
    request = ReplicateBackend({}).request_of(replace(ASKED, model=model, call=call))
    body = json.loads(request.content)
    assert (request.path, body.get("version")) == (path, version)
    given = {"prompt": WORK.prompt, "width": 1216, "height": 832, "seed": 7, "num_inference_steps": 4}
    assert body["input"] == given
    assert request.headers["Cancel-After"] == "90s"


@pytest.mark.parametrize("model", ["sdxl", "a/b/c", "a/b:latest", "../b?c"])
def test_replicate_is_asked_for_nothing_but_a_model(model: str) -> None:
    with pytest.raises(BackendFailure, match="owner/name"):
        ReplicateBackend({}).request_of(replace(ASKED, model=model))


def test_openai_edits_with_the_mask_as_what_is_transparent() -> None:
    sources = (source("reference"), source("reference"), source("mask", drawing()))
    request = OpenAIBackend({}).request_of(replace(ASKED, sources=sources, strength=0.4, model="gpt-image-1"))
    assert request.path == "/images/edits"
    files = [(name, file) for name, (file, _, _) in request.form if file is not None]
    assert files == [("image[]", "image.png"), ("image[]", "image.png"), ("mask", "mask.png")]
    assert "strength" in request.not_sent, "OpenAI has no word for it, and the manifest says so"


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P"])
def test_a_mask_means_the_same_in_every_form(mode: str) -> None:
    with Image.open(io.BytesIO(as_alpha(drawing(mode)))) as image:
        assert [image.getchannel("A").getpixel((x, 5)) for x in (5, 90)] == [0, 255]
    with Image.open(io.BytesIO(inverted(drawing(mode)))) as image:
        assert [image.getpixel((x, 5)) for x in (5, 90)] == [0, 255]


async def test_the_guide_s_settings_open_a_backend_of_each_kind_with_its_own_key_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/providers.md").read_text()
    monkeypatch.setenv("CALOTYPE_PROVIDERS", guide.split("CALOTYPE_PROVIDERS='")[1].split("'\n```")[0])
    monkeypatch.setenv("CALOTYPE_PROOF_CHILDREN", "0")
    settings = InferenceSettings()
    opened = open_backends(settings, Wakes())
    assert set(opened) == {"openai", "stability", "replicate", "bedrock"}
    assert all(backend.name == kind for kind, backend in opened.items())
    for kind, backend in opened.items():
        strange = next(name for name, given in settings.providers.items() if given.kind != kind)
        with pytest.raises(BackendFailure, match=f"no provider '{strange}'"):
            await generate(backend, replace(ASKED, call=Call(provider=strange)))
    keys = [given.key.get_secret_value() for given in settings.providers.values()]
    assert not [key for key in keys if key in repr(settings)]


# -- what is read


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
        # By the answer's own clock, whatever ours says.
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(Answer(429, httpx.Headers(headers), b"")) == seconds


@pytest.mark.parametrize(("choice", "limit"), [("ok", "MAX_ANSWER"), ("url", "MAX_PICTURE")])
async def test_an_answer_without_end_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, limit: str
) -> None:
    monkeypatch.setattr(f"services.inference.backends.exchange.{limit}", 50)
    with Server(tmp_path) as server:
        server.script.change({"next": [choice]})
        backend = OpenAIBackend({"acme": Provider(url=server.url, key="k")})
        with pytest.raises(BackendFailure) as caught:
            await generate(backend, replace(WORK, call=CALL))
        await backend.close()
    assert (caught.value.reason, caught.value.billed) == (FailureReason.CORRUPT_OUTPUT, True)


async def test_a_picture_is_looked_at_beside_the_loop_that_serves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[threading.Thread] = []

    def looks(data: bytes, limits: Limits) -> Admitted:
        looked.append(threading.current_thread())
        return admitted(data, limits)

    monkeypatch.setattr("services.inference.backends.providers.admitted", looks)
    with Server(tmp_path) as server:
        backend = OpenAIBackend({"acme": Provider(url=server.url, key="k")})
        await generate(backend, replace(WORK, call=CALL))
        await backend.close()
    assert len(looked) == 1 and looked[0] is not threading.main_thread()


async def generate(backend: Any, work: Generation) -> Generated:
    made: Generated = await backend.generate(work, progress=lambda *_: None, cancelled=lambda: False)
    return made


# -- predictions: ordered once, asked for by anybody


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Replicate]:
    with Replicate(tmp_path) as running:
        yield running


@pytest.fixture
async def replicate(server: Replicate) -> AsyncIterator[ReplicateBackend]:
    opened = ReplicateBackend({"acme": Provider(url=server.url, key="sk-very-secret")})
    yield opened
    await opened.close()


PREDICTION = replace(WORK, model="stability-ai/sdxl", call=CALL)


class Notes:
    """Where an id is kept, unless the database is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.kept: list[str] = []
        self.noted = asyncio.Event()
        self._away = away

    async def keep(self, provider_id: str) -> None:
        self.noted.set()
        if self._away:
            raise Unavailable("postgres")
        self.kept.append(provider_id)


async def cut_off(replicate: ReplicateBackend, notes: Notes) -> BaseException | None:
    """A prediction whose worker is told to end while it is made: what its call ends with."""
    call = asyncio.create_task(generate(replicate, replace(PREDICTION, keep_id=notes.keep)))
    await notes.noted.wait()
    call.cancel()
    await asyncio.wait({call})
    return None if call.cancelled() else call.exception()


async def test_a_prediction_goes_on_without_its_worker_and_is_taken_up(
    server: Replicate, replicate: ReplicateBackend
) -> None:
    server.script.change({"hold": True})
    notes = Notes()
    assert await cut_off(replicate, notes) is None, "the call is let go, and nobody calls it uncertain"
    server.script.change({"hold": False})
    made = await replicate.resume(PREDICTION, notes.kept[0], progress=lambda *_: None)
    assert made.image == png(64, 64, seed="0/charge-000001")
    assert (made.provider_request_id, made.latency_seconds) == (notes.kept[0], None), "nobody saw it begin and end"
    assert len(server.calls()) == len(server.charges()) == 1
    assert made.manifest == (await generate(replicate, PREDICTION)).manifest, (
        "nothing of it is in the picture's history"
    )


async def test_a_prediction_whose_id_nobody_could_keep_is_uncertain(
    server: Replicate, replicate: ReplicateBackend
) -> None:
    server.script.change({"hold": True})
    ended = await cut_off(replicate, Notes(away=True))
    assert isinstance(ended, BackendFailure) and ended.uncertain
    assert ended.provider_request_id == f"p{1:025d}", "whoever looks into it knows the id all the same"


async def test_a_prediction_that_nobody_knows_is_uncertain(replicate: ReplicateBackend) -> None:
    for strange in ("p0", "../../account"):
        with pytest.raises(BackendFailure) as caught:
            await replicate.resume(PREDICTION, strange, progress=lambda *_: None)
        assert caught.value.uncertain and caught.value.provider_request_id == strange


@pytest.mark.parametrize("choice", ["busy_looks", "data_url"])
async def test_a_prediction_is_looked_at_until_it_is_over(
    server: Replicate, replicate: ReplicateBackend, choice: str
) -> None:
    server.script.change({"next": [choice]})
    assert (await generate(replicate, PREDICTION)).image == png(64, 64, seed="0/charge-000001")
    assert len(server.charges()) == 1
    first, *later = server.looked
    assert choice != "busy_looks" or later[0] - first >= LATER_SECONDS, "not before it says"


async def test_what_replicate_says_of_its_limit_is_waited_for(server: Replicate, replicate: ReplicateBackend) -> None:
    server.script.change({"next": ["429"]})
    with pytest.raises(BackendFailure) as caught:
        await generate(replicate, PREDICTION)
    assert (caught.value.busy, caught.value.after) == (True, 7.0)
