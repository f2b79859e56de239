"""`calotype recipe preview`: what is wrong with its arguments is said before anybody is asked."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.errors import Problem


@pytest.mark.parametrize("named", ["recipes.yaml", "drafts/web"])
def test_a_file_that_is_not_there_is_not_taken_for_a_recipes_name(tmp_path: Path, named: str) -> None:
    asked = ["recipe", "preview", named, "an-asset", "--rendition", "hero", "--out", str(tmp_path / "hero.jpg")]
    found = CliRunner().invoke(app, asked, env={"CALOTYPE_DATA": str(tmp_path)})
    assert isinstance(found.exception, Problem)
    assert found.exception.what == f"There is no file {named}."
