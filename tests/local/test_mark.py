"""`calotype mark read`: from a file to the asset that it was made as, with the key of a data folder or of one's own."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from deploy.cli.mark import app
from deploy.errors import Problem
from deploy.local.data import DataFolder
from services.postprocess.marking import write
from shared.mark_keys import mark_key
from tests.postprocess.photos import leaves
from tests.postprocess.test_marking import ASSET, KEY


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALOTYPE_MARK_KEY", raising=False)


def saved(path: Path, key: bytes) -> Path:
    Image.fromarray(write(leaves(2), asset=ASSET, key=key)).save(path, quality=80)
    return path


def read(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["read", *map(str, arguments)])


def test_a_picture_says_which_asset_it_was_made_as(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    picture = saved(tmp_path / "found.jpg", mark_key(folder.mark_key()))
    told = read(picture, "--data", folder.root)
    assert told.exit_code == 0
    assert told.stdout.startswith("6f1c9a52-7d0e begins the asset's id (score ")


def test_a_key_of_ones_own_comes_before_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_MARK_KEY", KEY.hex())
    told = read(saved(tmp_path / "found.webp", KEY), "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["asset"] == "6f1c9a52-7d0e"


def test_a_picture_of_another_key_carries_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_MARK_KEY", KEY.hex())
    told = read(saved(tmp_path / "found.png", bytes(32)), "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout) == {"asset": None, "score": None, "least": 10.5}


def test_without_a_key_the_remedy_is_told(tmp_path: Path) -> None:
    told = read(saved(tmp_path / "found.png", KEY), "--data", tmp_path)
    assert isinstance(told.exception, Problem)
    assert "no mark key" in told.exception.what


def test_a_key_that_is_none_is_told_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_MARK_KEY", "5ec7e7")
    told = read(saved(tmp_path / "found.png", KEY))
    assert isinstance(told.exception, Problem)
    assert "64 hexadecimal digits" in told.exception.what
    assert "5ec7e7" not in str(told.exception)


def test_a_file_that_is_no_picture_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_MARK_KEY", KEY.hex())
    (tmp_path / "page.png").write_text("<html>")
    told = read(tmp_path / "page.png")
    assert isinstance(told.exception, Problem)
    assert "no PNG, JPEG, WebP or AVIF" in told.exception.what
