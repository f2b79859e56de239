"""Operations with a model of the operator's: it does the work, or the plain method does and everybody is told."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from services.postprocess.children import Children
from services.postprocess.development import Made
from services.postprocess.model_files import ModelFile
from services.postprocess.models import models
from services.postprocess.operations import Equipment, Frame, Materials, operations
from services.postprocess.pictures import Picture
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.networks import cutting, enlarging, failing
from tests.postprocess.photos import Pixels, leaves
from tests.postprocess.pictures import read, written


def frame_of(pixels: Pixels, files: Mapping[str, ModelFile], **given: Any) -> Frame:
    materials = Materials(equipment=Equipment(models=models(files, seconds=60)))
    return Frame.of(Picture(pixels), wanted=(100, 100), materials=materials, **given)


def lit(size: int = 128) -> Pixels:
    """A white square on a dark ground."""
    pixels = np.full((size, size, 3), 20, np.uint8)
    pixels[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 250
    return pixels


def test_the_model_tells_the_product_from_the_ground(tmp_path: Path) -> None:
    file = cutting(tmp_path)
    made = operations()["cut-out"].apply(frame_of(lit(), {"cut_out": file}), {})
    alpha = made.pixels()[:, :, 3]
    assert (alpha[64, 64], alpha[5, 5]) == (255, 0)
    ((name, how),) = made.notes
    assert name == "cut-out" and file.sha256 in how
    assert made.verdicts == ()


def test_a_shape_that_came_with_the_image_comes_before_the_model(tmp_path: Path) -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[:64] = 255
    frame = frame_of(lit(), {"cut_out": failing(tmp_path)}, mask=Picture(mask))
    made = operations()["cut-out"].apply(frame, {})
    assert made.notes == (("cut-out", "shape"),) and made.verdicts == ()


def test_where_the_model_fails_colours_cut_out_and_the_reviewer_is_told(tmp_path: Path) -> None:
    frame = frame_of(lit(), {"cut_out": failing(tmp_path)})
    made = operations()["cut-out"].apply(frame, {})
    assert made.pixels().shape[2] == 4
    assert made.notes == (("cut-out", "found"),)
    assert [verdict.ok for verdict in made.verdicts] == [False, True]
    assert "cut out by its colours, since the model failing.onnx failed: " in made.verdicts[0].sentence


def test_the_model_enlarges(tmp_path: Path) -> None:
    file = enlarging(tmp_path)
    made = operations()["upscale"].apply(frame_of(lit(60), {"upscale": file}), {})
    assert made.size == (100, 100)
    ((name, how),) = made.notes
    assert name == "upscale" and file.sha256 in how
    assert made.verdicts == ()


def test_what_is_large_enough_is_not_shown_to_the_model(tmp_path: Path) -> None:
    made = operations()["upscale"].apply(frame_of(lit(128), {"upscale": failing(tmp_path)}), {})
    assert made.verdicts == () and made.notes == ()


def test_where_the_model_fails_back_projection_enlarges_and_the_reviewer_is_told(tmp_path: Path) -> None:
    made = operations()["upscale"].apply(frame_of(lit(60), {"upscale": failing(tmp_path)}), {})
    plain = operations()["upscale"].apply(frame_of(lit(60), {}), {})
    assert (made.pixels() == plain.pixels()).all()
    assert made.notes == (("upscale", "back-projection"),)
    (verdict,) = made.verdicts
    assert not verdict.ok
    assert "enlarged by back-projection, since the model failing.onnx failed: " in verdict.sentence


async def made_in_a_child(files: Mapping[str, ModelFile], op: str) -> Made:
    children = Children(count=1, models=files, memory_mb=2048)
    web = recipe(rendition("main", 400, 320, format="png", operations=[step(op)]))
    order = {"recipes": {"web": web.model_dump(mode="json")}}
    try:
        (made,) = (await children.develop(written(Image.fromarray(leaves(3, 200, 160))), order)).made
    finally:
        await children.stop()
    return made


async def test_a_child_runs_the_models_and_the_manifest_names_them(tmp_path: Path) -> None:
    file = enlarging(tmp_path)
    made = await made_in_a_child({"upscale": file}, "upscale")
    assert read(made.data).size == (400, 320)
    assert made.manifest["notes"] == [["upscale", file.name]]
    assert made.verdicts == []


async def test_a_file_that_changed_meanwhile_is_not_loaded_by_a_child(tmp_path: Path) -> None:
    file = enlarging(tmp_path)
    file.path.write_bytes(b"another")
    made = await made_in_a_child({"upscale": file}, "upscale")
    assert made.manifest["notes"] == [["upscale", "back-projection"]]
    assert "enlarge.onnx has changed since the stage started" in made.verdicts[0].sentence


def test_a_child_without_a_model_loads_no_library_for_it() -> None:
    program = "import sys, services.postprocess.child; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
