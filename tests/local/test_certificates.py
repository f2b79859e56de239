"""The certificate of one machine, and what `calotype verify` says of files that it signed."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.x509 import load_pem_x509_certificate
from typer.testing import CliRunner, Result

from deploy.cli.verify import verify
from deploy.errors import Problem
from deploy.local.certificates import ends_at, signing_environment
from deploy.local.data import DataFolder
from deploy.local.supervisor import Supervisor
from services.postprocess.app import signer_of
from services.postprocess.settings import PostprocessSettings
from tests.postprocess.images import generated
from tests.postprocess.pictures import plain, written
from tests.postprocess.signed import developed

ORIGINAL = written(plain())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    folder = DataFolder(tmp_path_factory.mktemp("data"))
    signing_environment(folder)
    return folder


@pytest.fixture(scope="module")
def picture(data: DataFolder) -> Path:
    """Signed by a real child with the folder's own certificate."""
    fields: dict[str, Any] = {name.removeprefix("CALOTYPE_").lower(): value for name, value in told(data)}
    settings = PostprocessSettings(**fields)
    signer = signer_of(settings)
    made = asyncio.run(developed(ORIGINAL, generated(ORIGINAL), signer=signer)).made[0]
    path = data.root / "signed.png"
    path.write_bytes(made.data)
    return path


def told(data: DataFolder) -> list[tuple[str, str]]:
    return list(signing_environment(data).items())


def test_it_says_that_it_is_a_test_is_ours_alone_and_is_kept(data: DataFolder) -> None:
    paths = {name: Path(path) for name, path in told(data)}
    before = {path: path.read_bytes() for path in paths.values()}
    for path in paths.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("CALOTYPE_SIGNING_CERTIFICATES_FILE", "CALOTYPE_TRUST_ANCHORS"):
        certificate = load_pem_x509_certificate(before[paths[name]])
        assert "test, not for production" in certificate.subject.rfc4514_string().replace("\\,", ",")
    again = {path: path.read_bytes() for path in map(Path, signing_environment(data).values())}
    assert again == before
    assert ends_at(data) is not None


def test_only_who_is_told_to_signs_and_nobody_where_the_environment_names_a_key(tmp_path: Path) -> None:
    def names(environment: dict[str, str], *, signs: bool) -> set[str]:
        given = {"CALOTYPE_KAFKA_BOOTSTRAP": "k:1", "DATABASE_URL": "postgresql://d"} | environment
        supervisor = Supervisor(tmp_path, environment=given, signs=signs)
        return {name for name in supervisor._environment() if name.startswith("CALOTYPE_SIGNING")}

    assert names({}, signs=False) == set()
    assert not (tmp_path / "signing").exists()
    theirs = {"CALOTYPE_SIGNING_URL": "https://keys", "CALOTYPE_SIGNING_CERTIFICATES_FILE": "c.pem"}
    assert names(theirs, signs=True) == set(theirs)
    assert not (tmp_path / "signing").exists()
    assert names({}, signs=True) == {"CALOTYPE_SIGNING_CERTIFICATES_FILE", "CALOTYPE_SIGNING_KEY_FILE"}


def asked(*arguments: object) -> Result:

    app = typer.Typer()
    app.command()(verify)
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_picture_is_trusted_with_its_folder_and_valid_without(
    data: DataFolder, picture: Path, tmp_path: Path
) -> None:
    here = asked(picture, "--data", data.root)
    assert here.exit_code == 0
    assert "trusted" in here.stdout and "c2pa.created" in here.stdout and "trainedAlgorithmicMedia" in here.stdout
    elsewhere = asked(picture, "--data", tmp_path, "--json")
    assert elsewhere.exit_code == 0
    said = json.loads(elsewhere.stdout)
    assert said["state"] == "valid" and "untrusted" in said["problems"][0]
    anchored = asked(picture, "--data", tmp_path, "--anchor", data.root / "signing/authority.pem", "--json")
    assert json.loads(anchored.stdout)["state"] == "trusted"


def test_a_picture_changed_or_never_signed_ends_with_1(data: DataFolder, picture: Path, tmp_path: Path) -> None:
    bytes_ = picture.read_bytes()
    (tmp_path / "changed.png").write_bytes(bytes_[:-40] + bytes([bytes_[-40] ^ 1]) + bytes_[-39:])
    (tmp_path / "plain.png").write_bytes(ORIGINAL)
    for name, state in (("changed.png", "invalid"), ("plain.png", "none")):
        found = asked(tmp_path / name, "--data", data.root, "--json")
        assert (found.exit_code, json.loads(found.stdout)["state"]) == (1, state)
    assert "no Content Credentials" in asked(tmp_path / "plain.png").stdout


def test_what_is_no_picture_by_its_name_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text("{}")
    found = asked(tmp_path / "set.json")
    assert isinstance(found.exception, Problem) and found.exception.remedy
