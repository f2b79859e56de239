"""Models of the operator's own: real, tiny ONNX files, run by onnxruntime."""

import hashlib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from pydantic import ValidationError

from services.postprocess import models as module
from services.postprocess.hooks import Models
from services.postprocess.model_files import ModelFailed, ModelFile
from services.postprocess.models import Network, models
from services.postprocess.settings import PostprocessSettings
from tests.postprocess.networks import cutting, enlarging, failing, logits, saved, scoring
from tests.postprocess.photos import Pixels, leaves


def of(**files: ModelFile) -> Models:
    return models(files, seconds=60)


def spot(width: int = 300, height: int = 200) -> Pixels:
    """Black, and white in the middle."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    return pixels


def cut(made: Models, pixels: Pixels) -> Pixels:
    assert made.cut_out is not None
    return made.cut_out(pixels)


def enlarged(made: Models, pixels: Pixels, width: int, height: int) -> Pixels:
    assert made.upscale is not None
    return made.upscale(pixels, width, height)


def test_a_mask_has_the_size_of_the_picture_and_shows_what_the_model_saw(tmp_path: Path) -> None:
    mask = cut(of(cut_out=cutting(tmp_path)), spot())
    assert mask.shape == (200, 300) and mask.dtype == np.uint8
    assert [mask[at] for at in ((100, 150), (10, 10))] == [255, 0]
    assert 60_000 * 0.24 < np.count_nonzero(mask > 127) < 60_000 * 0.26


def test_a_side_that_the_model_leaves_open_is_the_usual_one(tmp_path: Path) -> None:
    assert Network(cutting(tmp_path, side="side")).size(320) == (320, 320)


def test_the_models_own_normalisation_comes_before_the_usual_one(tmp_path: Path) -> None:
    pixels = np.full((64, 64, 3), 100, np.uint8)  # darker than ImageNet's mean
    assert cut(of(cut_out=cutting(tmp_path)), pixels)[0, 0] == 0
    own = cutting(tmp_path, metadata={"mean": "0.2,0.2,0.2", "std": "1,1,1"})
    assert cut(of(cut_out=own), pixels)[0, 0] == 255


def test_normalisation_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match=r"cut\.onnx has metadata that are not three numbers"):
        cut(of(cut_out=cutting(tmp_path, metadata={"mean": "half"})), spot())


@pytest.mark.parametrize("side", ["side", 48])
def test_tiles_are_joined_without_a_seam(side: int | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the picture is cut, each pixel is the one that the model makes of the whole."""
    file, pixels = enlarging(tmp_path, side=side), leaves(1, 150, 110)
    monkeypatch.setattr(module, "TILE", 52)
    tiled = enlarged(of(upscale=file), pixels, 300, 220)
    monkeypatch.setattr(module, "TILE", 400)
    whole = enlarged(of(upscale=enlarging(tmp_path)), pixels, 300, 220)
    assert int(cv2.absdiff(tiled, whole).max()) <= 1


def test_an_enlargement_keeps_the_picture(tmp_path: Path) -> None:
    pixels = np.asarray(cv2.GaussianBlur(leaves(2, 200, 150), (0, 0), 3), np.uint8)
    made = enlarged(of(upscale=enlarging(tmp_path)), pixels, 400, 300)
    again = cv2.resize(made, (200, 150), interpolation=cv2.INTER_AREA)
    assert float(cv2.absdiff(again, pixels).mean()) < 4


@pytest.mark.parametrize(("width", "height"), [(300, 225), (500, 375), (1, 1)])
def test_every_size_is_reached_whatever_the_models_factor(width: int, height: int, tmp_path: Path) -> None:
    assert enlarged(of(upscale=enlarging(tmp_path)), leaves(2, 200, 150), width, height).shape == (height, width, 3)


def test_what_is_see_through_stays_so_when_enlarged(tmp_path: Path) -> None:
    pixels = np.dstack([leaves(2, 64, 64), np.full((64, 64), 255, np.uint8)])
    pixels[:, :32, 3] = 0
    made = enlarged(of(upscale=enlarging(tmp_path)), pixels, 128, 128)
    assert made.shape == (128, 128, 4)
    assert (made[:, :56, 3] == 0).all() and (made[:, 72:, 3] == 255).all()


def test_an_enlargement_that_would_take_too_long_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match=r"enlarge\.onnx would take \d+ s of the 0 allowed"):
        enlarged(models({"upscale": enlarging(tmp_path)}, seconds=0), leaves(2, 64, 64), 128, 128)


def test_an_enlargement_that_would_be_too_large_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PIXELS", 10_000)
    with pytest.raises(ModelFailed, match="million pixels"):
        enlarged(of(upscale=enlarging(tmp_path)), leaves(2, 64, 64), 128, 128)


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_model_that_does_not_enlarge_by_a_whole_number_is_told(factor: float, tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match="no enlargement"):
        enlarged(of(upscale=enlarging(tmp_path, factor=factor)), leaves(2, 64, 64), 128, 128)


def test_a_model_that_takes_too_little_at_once_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match="takes 32 × 32 pixels, which is too little"):
        enlarged(of(upscale=enlarging(tmp_path, side=32)), leaves(2, 64, 64), 128, 128)


def test_a_score_is_between_harmless_and_not(tmp_path: Path) -> None:
    made = of(moderation=scoring(tmp_path))
    assert made.moderation is not None
    assert made.moderation(np.zeros((90, 90, 3), np.uint8)) > 0.8
    assert made.moderation(np.full((90, 90, 3), 255, np.uint8)) < 0.2


def test_more_than_one_score_is_told(tmp_path: Path) -> None:
    made = of(moderation=cutting(tmp_path))
    assert made.moderation is not None
    with pytest.raises(ModelFailed, match=r"cut\.onnx gives 4096 values, and not one score"):
        made.moderation(spot())


def test_values_beyond_zero_and_one_are_told_and_not_squeezed(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match=r"logits\.onnx gives values from -1\.9\d+ to 2\.4\d+, and not 0 to 1"):
        cut(of(cut_out=logits(tmp_path)), spot())


@pytest.mark.parametrize("hook", ["cut_out", "upscale"])
def test_a_model_that_fails_when_it_runs_is_named(hook: str, tmp_path: Path) -> None:
    made = of(**{hook: failing(tmp_path)})
    with pytest.raises(ModelFailed, match=r"failing\.onnx failed: .*reshape"):
        cut(made, spot()) if hook == "cut_out" else enlarged(made, spot(), 600, 400)


def test_a_model_that_takes_no_picture_is_told(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Identity", ["input"], ["output"])
    file = saved(tmp_path / "words.onnx", [node], shape=[1, 77])
    with pytest.raises(ModelFailed, match=r"words\.onnx takes \[1, 77\], and not one picture"):
        cut(of(cut_out=file), spot())


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    path = tmp_path / "page.onnx"
    path.write_text("<html>")
    file = ModelFile(path, hashlib.sha256(b"<html>").hexdigest())
    with pytest.raises(ModelFailed, match=r"page\.onnx cannot be loaded"):
        cut(of(cut_out=file), spot())


def test_a_file_that_changed_after_the_stage_started_is_not_loaded(tmp_path: Path) -> None:
    file = cutting(tmp_path)
    file.path.write_bytes(file.path.read_bytes() + b"\0")
    with pytest.raises(ModelFailed, match=r"cut\.onnx has changed since the stage started"):
        cut(of(cut_out=file), spot())


def test_manifests_name_the_file_its_hash_and_what_runs_it(tmp_path: Path) -> None:
    file = cutting(tmp_path)
    (name,) = of(cut_out=file).names.values()
    assert name.startswith(f"cut.onnx sha256:{file.sha256} onnxruntime 1.")
    assert str(tmp_path) not in name


def settings(monkeypatch: pytest.MonkeyPatch, **variables: object) -> PostprocessSettings:
    for name, value in variables.items():
        monkeypatch.setenv(f"CALOTYPE_MODEL_{name}", str(value))
    return PostprocessSettings()


def test_a_file_with_its_hash_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = cutting(tmp_path)
    assert settings(monkeypatch, CUT_OUT=file.path, CUT_OUT_SHA256=file.sha256.upper()).models == {"cut_out": file}
    assert PostprocessSettings().model_memory_mb == 1024


def test_without_a_file_there_is_none() -> None:
    assert PostprocessSettings().models == {}


def test_a_file_without_its_hash_refuses_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="CALOTYPE_MODEL_UPSCALE needs CALOTYPE_MODEL_UPSCALE_SHA256"):
        settings(monkeypatch, UPSCALE=enlarging(tmp_path).path)


def test_a_hash_without_its_file_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="CALOTYPE_MODEL_UPSCALE_SHA256 is set, and CALOTYPE_MODEL_UPSCALE names"):
        settings(monkeypatch, UPSCALE_SHA256="0" * 64)


def test_a_file_with_another_hash_refuses_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = scoring(tmp_path)
    with pytest.raises(ValidationError, match=rf"has the SHA-256 {file.sha256}, and .*_SHA256 names {'0' * 64}"):
        settings(monkeypatch, MODERATION=file.path, MODERATION_SHA256="0" * 64)


def test_a_file_that_is_not_there_refuses_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match=r"nowhere\.onnx cannot be read: No such file"):
        settings(monkeypatch, CUT_OUT=tmp_path / "nowhere.onnx", CUT_OUT_SHA256="0" * 64)


def test_a_model_in_two_files_refuses_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights would be covered by no hash."""
    model = onnx.load(enlarging(tmp_path).path)
    path = tmp_path / "two.onnx"
    onnx.save(model, path, save_as_external_data=True, location="two.bin", size_threshold=0)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValidationError, match="keeps weights in another file; export it as one file"):
        settings(monkeypatch, UPSCALE=path, UPSCALE_SHA256=sha256)


def test_without_onnxruntime_the_group_to_install_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("services.postprocess.model_files.version", absent)
    file = cutting(tmp_path)
    with pytest.raises(ValidationError, match="onnxruntime is not installed: install the dependency group `models`"):
        settings(monkeypatch, CUT_OUT=file.path, CUT_OUT_SHA256=file.sha256)
