"""The command: every verb is found by its line, and none is imported before it runs."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from deploy.cli import VERBS

ROOT = Path(__file__).parents[2]


def calotype(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_lists_every_verb_and_imports_none_of_them() -> None:
    code = "import sys; from deploy.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed, _, modules = shown.rstrip().rpartition("\n")
    for verb in VERBS:
        assert f" {verb} " in listed
        assert f"deploy.cli.{verb.replace('-', '_')}" not in modules.split()
    assert "aiokafka" not in modules.split()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_module(verb: str) -> None:
    name = verb.replace("-", "_")
    module = import_module(f"deploy.cli.{name}")
    assert hasattr(module, "app") or callable(getattr(module, name))


def test_a_misspelt_verb_is_guessed() -> None:
    answer = calotype("statsu")
    assert answer.returncode == 2
    assert "status" in answer.stderr


def test_a_problem_is_told_with_its_remedy_and_without_a_stack(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "kafka.log").touch()
    answer = calotype("logs", "kafak", "--data", str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr == (f"calotype: There is no log of 'kafak' in {tmp_path / 'logs'}.\n  There are: kafka.\n")


def test_the_end_of_a_log_is_printed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "kafka.log").write_text("".join(f"{n}\n" for n in range(10)))
    assert calotype("logs", "kafka", "-n", "2", "--data", str(tmp_path)).stdout == "8\n9\n"


def test_status_of_a_folder_where_nothing_runs_fails_and_makes_no_folder(tmp_path: Path) -> None:
    answer = calotype("status", "--data", str(tmp_path / "nothing"))
    assert answer.returncode == 1
    assert "calotype up" in answer.stdout
    assert not (tmp_path / "nothing").exists()
