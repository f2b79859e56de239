"""What every inference backend must do; a new one joins by a line in `RIGS`."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from PIL import Image

from services.inference.backends import Backend, BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.openai import OpenAIBackend, Provider
from services.inference.backends.proof.backend import ProofBackend
from shared.blobs import EXTENSIONS
from shared.library.documents import Call
from tests.inference.generations import WORK
from tests.inference.scenes import scene
from tests.servers.provider import Provider as Server

PROVIDER = "acme"
PROOF = replace(WORK, width=96, height=64, scene=scene(form="candle"))
CALLED = replace(WORK, width=96, height=64, call=Call(provider=PROVIDER, timeout_seconds=10))


@dataclass(eq=False)
class Rig:
    """A backend, what it is asked, and how to make its next image fail half-way, from within the image's progress."""

    backend: Backend
    work: Generation
    spoil: Callable[[int, int], None]
    bills: bool = False

    async def generate(self, work: Generation | None = None, **how: Any) -> Generated:
        given: dict[str, Any] = {"progress": lambda *_: None, "cancelled": lambda: False} | how
        return await self.backend.generate(work or self.work, **given)


def proof() -> Rig:
    def kill(*_: int) -> None:
        for child in psutil.Process().children():
            if "services.inference.backends.proof.child" in " ".join(child.cmdline()):
                child.kill()

    return Rig(ProofBackend(children=2), PROOF, kill)


def openai(server: Server) -> Rig:
    backend = OpenAIBackend({PROVIDER: Provider(url=server.url, key="sk-test")})
    return Rig(backend, CALLED, lambda *_: server.script.change({"next": ["reset"]}), bills=True)


RIGS = ("proof", "openai")


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    with Server(tmp_path) as server:
        opened = openai(server) if request.param == "openai" else proof()
        yield opened
        await opened.backend.close()


async def test_an_image_is_of_the_asked_size_and_of_the_type_it_says(rig: Rig) -> None:
    made = await rig.generate()
    with Image.open(io.BytesIO(made.image)) as image:
        image.load()
        assert image.size == (made.width, made.height) == (96, 64)
        assert image.get_format_mimetype() == made.media_type
    assert made.media_type in EXTENSIONS, "the store has to know it"


async def test_a_manifest_is_json_and_of_the_image_not_of_the_attempt(rig: Rig) -> None:
    first = (await rig.generate()).manifest
    again = (await rig.generate(replace(rig.work, attempt_id=UUID(int=99)))).manifest
    assert json.loads(json.dumps(first)) == again
    assert rig.work.prompt not in json.dumps(first), "the job's manifest has the prompt already"


async def test_progress_never_goes_back_and_ends_at_its_end(rig: Rig) -> None:
    told: list[tuple[int, int]] = []
    await rig.generate(progress=lambda step, steps: told.append((step, steps)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0


async def test_what_is_cancelled_before_it_begins_is_not_made(rig: Rig) -> None:
    with pytest.raises(GenerationCancelled):
        await rig.generate(cancelled=lambda: True)


async def test_images_are_made_beside_each_other_each_its_own(rig: Rig) -> None:
    works = [replace(rig.work, attempt_id=UUID(int=number), seed=number) for number in range(1, 4)]
    made = await asyncio.gather(*(rig.generate(work) for work in works))
    assert len({each.image for each in made}) == 3


async def test_what_breaks_half_way_is_a_failure_with_a_reason_and_the_next_image_is_made(rig: Rig) -> None:
    with pytest.raises(BackendFailure) as caught:
        await rig.generate(progress=rig.spoil)
    assert caught.value.reason.value != "unknown" and caught.value.detail
    assert caught.value.uncertain == rig.bills, "only where somebody sends a bill does a broken call leave a doubt"
    assert (await rig.generate()).image


async def test_closing_twice_is_closing_once(rig: Rig) -> None:
    await rig.generate()
    await rig.backend.close()
    await rig.backend.close()
