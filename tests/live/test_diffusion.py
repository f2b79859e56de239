"""The real path: a real (small, random) pipeline in a real model process, one for the module: torch loads slowly."""

import asyncio
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import safetensors.numpy
from PIL import Image

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.diffusion import DiffusionBackend, DiffusionOptions
from services.inference.backends.diffusion.folder import Unloadable, find
from shared.events import FailureReason
from tests.inference.generations import WORK
from tests.inference.tiny import tiny_model

ROOT = Path(__file__).parents[2]
UNET = "unet/diffusion_pytorch_model.safetensors"
SECRET = "postgresql://calotype:a-secret@127.0.0.1/calotype"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(models: Path) -> AsyncIterator[DiffusionBackend]:
    os.environ["DATABASE_URL"] = SECRET
    backend = DiffusionBackend(DiffusionOptions(models=models))
    yield backend
    await backend.close()
    del os.environ["DATABASE_URL"]


@pytest.fixture
def spoiled(models: Path) -> Callable[[str], Path]:
    """A copy of the good model under a new name, to be damaged."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(models / "tiny", models / name))

    return copy


async def make(backend: DiffusionBackend, work: Generation = WORK) -> Generated:
    return await backend.generate(work, progress=lambda step, steps: None, cancelled=lambda: False)


def process_of(backend: DiffusionBackend) -> int:
    assert backend._model is not None
    return backend._model._process.pid


async def refusal(backend: DiffusionBackend, work: Generation) -> BackendFailure:
    with pytest.raises(BackendFailure) as caught:
        await make(backend, work)
    return caught.value


@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(backend: DiffusionBackend) -> None:
    first, other, again = await make(backend), await make(backend, replace(WORK, seed=8)), await make(backend)
    assert first.image == again.image
    assert first.manifest == again.manifest
    assert first.image != other.image
    with Image.open(io.BytesIO(first.image), formats=["PNG"]) as picture:
        assert picture.size == (64, 64)
        assert picture.mode == "RGB"
        assert np.asarray(picture).std() > 1


@pytest.mark.asyncio(loop_scope="module")
async def test_the_prompt_and_the_negative_prompt_both_change_the_picture(backend: DiffusionBackend) -> None:
    pictures = {
        (await make(backend, work)).image
        for work in (WORK, replace(WORK, prompt="a tin"), replace(WORK, negative_prompt=""))
    }
    assert len(pictures) == 3


@pytest.mark.asyncio(loop_scope="module")
async def test_progress_is_told_after_every_step(backend: DiffusionBackend) -> None:
    told: list[tuple[int, int]] = []
    await backend.generate(WORK, progress=lambda step, steps: told.append((step, steps)), cancelled=lambda: False)
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_cancel_stops_between_steps_and_the_process_goes_on(backend: DiffusionBackend) -> None:
    before = (await make(backend)).image
    process, told = process_of(backend), list[int]()
    with pytest.raises(GenerationCancelled):
        await backend.generate(
            replace(WORK, steps=400), progress=lambda step, steps: told.append(step), cancelled=lambda: len(told) >= 3
        )
    assert 3 <= len(told) < 100
    assert (await make(backend)).image == before
    assert process_of(backend) == process


@pytest.mark.asyncio(loop_scope="module")
async def test_the_manifest_names_all_that_made_the_picture(backend: DiffusionBackend, models: Path) -> None:
    manifest = (await make(backend)).manifest
    weights = hashlib.sha256((models / "tiny" / UNET).read_bytes()).hexdigest()
    assert manifest["model"]["files"][UNET] == weights
    assert manifest["scheduler"]["class"] == "DDIMScheduler"
    assert manifest["scheduler"]["config"]["beta_schedule"] == "scaled_linear"
    assert manifest["batch_shapes"] == [1, 1, 1, 1]
    assert (manifest["seed"], manifest["steps"], manifest["guidance"]) == (7, 4, 5.0)
    assert (manifest["dtype"], manifest["threads"]) == ("float32", 1)
    assert manifest["device"]["type"] == "cpu"
    cpu = dict(line.split("\t", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if "\t" in line)
    assert cpu.get("model name", cpu.get("CPU part", "")).strip(": \t") in manifest["processor"] != ""
    assert manifest["attention"]["processors"] == ["AttnProcessor2_0"]
    assert set(manifest["versions"]) >= {"python", "torch", "diffusers", "transformers", "pillow", "tokenizers"}
    assert (manifest["engine"], manifest["loras"]) == ("calotype-diffusion/1", [])
    assert manifest["decode"] == {
        "class": "AutoencoderKL", "dtype": "float32", "alone": True, "tiling": False, "slicing": False
    }  # fmt: skip
    assert manifest["ignored"] == []
    assert manifest["prompt_truncated"] is False


@pytest.mark.asyncio(loop_scope="module")
async def test_a_prompt_longer_than_the_encoder_reads_is_said_in_the_manifest(backend: DiffusionBackend) -> None:
    assert (await make(backend, replace(WORK, prompt="mug " * 60))).manifest["prompt_truncated"] is True


@pytest.mark.asyncio(loop_scope="module")
async def test_a_replaced_weight_file_is_loaded_and_named(
    backend: DiffusionBackend, spoiled: Callable[[str], Path]
) -> None:
    folder, work = spoiled("replaced"), replace(WORK, model="replaced")
    before = await make(backend, work)
    weights = safetensors.numpy.load_file(folder / UNET)
    safetensors.numpy.save_file({name: tensor * 1.01 for name, tensor in weights.items()}, folder / UNET)
    after = await make(backend, work)
    assert after.image != before.image
    assert after.manifest["model"]["digest"] != before.manifest["model"]["digest"]


@pytest.mark.asyncio(loop_scope="module")
async def test_another_scheduler_is_used_where_it_fits_the_model(backend: DiffusionBackend) -> None:
    ancestral = await make(backend, replace(WORK, scheduler="euler_a"))
    assert ancestral.manifest["scheduler"]["class"] == "EulerAncestralDiscreteScheduler"
    assert ancestral.image != (await make(backend)).image


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (replace(WORK, scheduler="flow_euler"), "default, ddim"),
        (replace(WORK, scheduler="no such thing"), "does not fit this model"),
        (replace(WORK, width=60), "multiples of 8"),
        (replace(WORK, steps=5000), "maximal 1000 timesteps"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_the_model_cannot_do_is_an_invalid_request(
    backend: DiffusionBackend, work: Generation, said: str
) -> None:
    failure = await refusal(backend, work)
    assert failure.reason is FailureReason.INVALID_REQUEST
    assert not failure.retriable
    assert said in failure.detail


@pytest.mark.asyncio(loop_scope="module")
async def test_colours_that_are_no_numbers_are_corrupt_output(
    backend: DiffusionBackend, spoiled: Callable[[str], Path]
) -> None:
    weights = spoiled("overflowing") / "vae/diffusion_pytorch_model.safetensors"
    tensors = safetensors.numpy.load_file(weights)
    safetensors.numpy.save_file({name: tensor * np.nan for name, tensor in tensors.items()}, weights)
    assert (await refusal(backend, replace(WORK, model="overflowing"))).reason is FailureReason.CORRUPT_OUTPUT


@pytest.mark.asyncio(loop_scope="module")
async def test_a_corrupt_folder_fails_its_job_and_not_the_next(
    backend: DiffusionBackend, spoiled: Callable[[str], Path]
) -> None:
    weights = spoiled("corrupt") / UNET
    weights.write_bytes(weights.read_bytes()[:100_000])
    failure = await refusal(backend, replace(WORK, model="corrupt"))
    assert failure.reason is FailureReason.BACKEND_UNAVAILABLE
    assert not failure.retriable
    assert "corrupt cannot be loaded" in failure.detail
    await make(backend)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_model_process_fails_its_job_and_is_started_again(backend: DiffusionBackend) -> None:
    before = await make(backend)
    process = process_of(backend)

    def kill(step: int, steps: int) -> None:
        if step == 2:
            os.kill(process, signal.SIGKILL)

    with pytest.raises(BackendFailure, match="SIGKILL") as caught:
        await backend.generate(replace(WORK, steps=400), progress=kill, cancelled=lambda: False)
    assert caught.value.reason is FailureReason.BACKEND_UNAVAILABLE
    assert caught.value.retriable
    assert (await make(backend)).image == before.image, "another process gives the same bytes"
    assert process_of(backend) != process


@pytest.mark.asyncio(loop_scope="module")
async def test_the_model_process_sees_no_secret_of_the_service(backend: DiffusionBackend) -> None:
    await make(backend)
    assert b"a-secret" not in Path(f"/proc/{process_of(backend)}/environ").read_bytes()


@pytest.mark.asyncio(loop_scope="module")
async def test_an_image_too_large_for_the_memory_is_out_of_memory_and_the_next_one_is_made(models: Path) -> None:
    backend = DiffusionBackend(DiffusionOptions(models=models, memory=224 * 2**20))
    failure = await refusal(backend, replace(WORK, width=1536, height=1536, steps=1))
    assert failure.reason is FailureReason.OUT_OF_MEMORY
    assert "1536 × 1536 px" in failure.detail
    process = process_of(backend)
    await make(backend)
    assert process_of(backend) == process
    await backend.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_hung_model_process_is_ended_and_the_job_times_out(backend: DiffusionBackend) -> None:
    await make(backend)
    assert backend._model is not None
    backend._model._silence = 0.5
    process = process_of(backend)

    def stop(step: int, steps: int) -> None:
        if step == 1:
            os.kill(process, signal.SIGSTOP)  # alive and silent

    with pytest.raises(BackendFailure) as caught:
        await backend.generate(replace(WORK, steps=400), progress=stop, cancelled=lambda: False)
    assert caught.value.reason is FailureReason.MODEL_TIMEOUT
    await make(backend)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_process_that_cannot_start_says_why(models: Path) -> None:
    backend = DiffusionBackend(DiffusionOptions(models=models, device="no-such-device"))
    failure = await refusal(backend, WORK)
    assert failure.reason is FailureReason.BACKEND_UNAVAILABLE
    assert "no-such-device" in failure.detail
    await backend.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_stopped_worker_takes_its_model_process_along(models: Path) -> None:
    backend = DiffusionBackend(DiffusionOptions(models=models))
    running = asyncio.Event()

    def on_step(step: int, _: int) -> None:
        if step:
            running.set()

    image = asyncio.create_task(backend.generate(replace(WORK, steps=900), progress=on_step, cancelled=lambda: False))
    await running.wait()
    process = process_of(backend)
    image.cancel()
    with pytest.raises(asyncio.CancelledError):
        await image
    await backend.close()
    assert not Path(f"/proc/{process}").exists()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_worker_takes_its_model_process_along(models: Path) -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.inference.doomed_worker", str(models)), stdout=PIPE, cwd=ROOT
    )
    assert worker.stdout is not None
    process = int(await worker.stdout.readline())
    worker.kill()
    await worker.wait()
    async with asyncio.timeout(30):
        while Path(f"/proc/{process}").exists():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", ["", "..", "../tiny", "/etc", "tiny/../tiny", "a//b"])
def test_a_model_is_never_looked_for_outside_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unloadable, match="is not the name"):
        find(tmp_path, name)


@pytest.mark.asyncio(loop_scope="module")
async def test_pickle_weights_are_refused(backend: DiffusionBackend, spoiled: Callable[[str], Path]) -> None:
    weights = spoiled("pickled") / UNET
    weights.rename(weights.with_suffix(".bin"))
    failure = await refusal(backend, replace(WORK, model="pickled"))
    assert not failure.retriable
    assert "pickled/unet/diffusion_pytorch_model.bin is a pickle" in failure.detail


def test_a_folder_with_code_of_its_own_is_refused(models: Path, spoiled: Callable[[str], Path]) -> None:
    (spoiled("scripted") / "unet" / "pipeline.py").write_text("print('hello')")
    with pytest.raises(Unloadable, match=r"scripted/unet/pipeline\.py is code"):
        find(models, "scripted")


def test_a_missing_component_or_index_is_named(models: Path, spoiled: Callable[[str], Path]) -> None:
    shutil.rmtree(spoiled("partial") / "vae")
    with pytest.raises(Unloadable, match="partial/vae is named in"):
        find(models, "partial")
    with pytest.raises(Unloadable, match=r"no absent/model_index\.json"):
        find(models, "absent")
    (models / "torn").mkdir()
    (models / "torn" / "model_index.json").write_text('{"_class_name": ')
    with pytest.raises(Unloadable, match=r"torn/model_index\.json cannot be read"):
        find(models, "torn")


def test_the_model_process_has_no_network() -> None:
    tried = (
        "import socket\n"
        "from services.inference.backends.diffusion.confinement import withdraw\n"
        "withdraw()\n"
        "socket.create_connection(('127.0.0.1', 9), timeout=1)\n"
    )
    done = subprocess.run([sys.executable, "-c", tried], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "PermissionError: the model process has no network" in done.stderr
