"""Crash points: every one of the table stands in the code, and an armed one ends its process."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared import crash
from shared.crash import POINTS, UnknownCrashPoint, arm, crash_point

ROOT = Path(crash.__file__).parents[1]
CALL = re.compile(r'crash_point\("([a-z_.]+)"\)')


def places() -> set[str]:
    files = [*ROOT.glob("shared/**/*.py"), *ROOT.glob("services/**/*.py")]
    return {name for path in files for name in CALL.findall(path.read_text())}


def test_the_table_names_the_points_of_the_code() -> None:
    assert places() == set(POINTS)


def test_an_armed_process_dies_at_the_nth_time_and_says_where(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from shared.crash import arm, crash_point\n"
        "arm('catalog', 'prompt.publish.after,catalog.commit.after:3', log=Path('crashes.tsv'))\n"
        "for n in range(5): print(n, flush=True); crash_point('commit.after'); crash_point('publish.after')\n"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["0", "1", "2"])
    _, stage, point = (tmp_path / "crashes.tsv").read_text().split()
    assert (stage, point) == ("catalog", "commit.after")


def test_an_unarmed_point_does_nothing() -> None:
    arm("catalog", "")
    crash_point("commit.after")


@pytest.mark.parametrize(
    "asked", ["catalog.nowhere", "prompt.commit.after", "catalog.commit.after:soon", "commit.after"]
)
def test_a_point_that_does_not_exist_keeps_the_process_from_starting(asked: str) -> None:
    with pytest.raises(UnknownCrashPoint, match=re.escape(asked)):
        arm("catalog", asked)
