"""The fixture that stands for the next version."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.fixture_tree import FIELD, GROWN, fixture_tree, with_a_field_more


def test_the_fixture_trees_events_have_the_field_and_ours_have_not(tmp_path: Path) -> None:
    tree = fixture_tree(tmp_path / "next")
    program = (
        "from shared import events\n"
        "for name in ('RequestAccepted', 'PromptAssembled', 'ImageGenerated', 'AssetApproved'):\n"
        f"    print(getattr(events, name).model_fields['{FIELD}'].default)"
    )
    environment = {"PYTHONPATH": str(tree)}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines() == ["known to the next version"] * len(GROWN)
    assert fixture_tree(tree) == tree, "made once"


def test_an_event_that_is_not_there_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="Nonsense"):
        with_a_field_more("class RequestAccepted(Event):\n", "Nonsense")
