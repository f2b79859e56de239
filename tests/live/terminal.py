"""A person at a terminal, against everything running."""

import json
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml
from typer.testing import CliRunner

from deploy.cli import app
from deploy.errors import Problem
from tests.live.pipeline import Pipeline


class Said(NamedTuple):
    """Exit status, what it says, and what of that is JSON or for the next program."""

    code: int
    text: str
    out: str


class Terminal:
    """In a folder and a workspace of their own, in this process: forty starts of Python would take a minute."""

    def __init__(self, running: Pipeline, folder: Path) -> None:
        self.folder = folder
        self.url = running.supervisor.url
        self.environment = {"CALOTYPE_DATA": str(running.data.root), "COLUMNS": "300"}
        made = self.told("workspace", "create", folder.name, "--undo-seconds", "0")
        self.environment["CALOTYPE_KEY"] = made["token"]

    def run(self, *arguments: str) -> Said:
        with chdir(self.folder):
            done = CliRunner().invoke(app, arguments, env=self.environment)
        if isinstance(done.exception, Problem):
            return Said(1, f"{done.output}{done.exception}", done.stdout)
        return Said(done.exit_code, f"{done.output}{done.exception or ''}", done.stdout)

    def says(self, *arguments: str, code: int = 0) -> str:
        said = self.run(*arguments)
        assert said.code == code, f"{arguments}: {said.text}"
        return said.text

    def told(self, *arguments: str, code: int = 0) -> Any:
        """The same as JSON."""
        said = self.run(*arguments, "--json")
        assert said.code == code, f"{arguments}: {said.text}"
        return json.loads(said.out)

    def write(self, name: str, content: bytes | str) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def write_library(self, documents: list[dict[str, Any]]) -> None:
        for document in documents:
            words = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
            self.write(f"library/{document['kind']}.yaml", words)

    def publish(self, documents: list[dict[str, Any]]) -> None:
        self.write_library(documents)
        self.says("library", "publish", "library")

    def known(self) -> bool:
        """Whether every stage has heard of the key."""
        return self.run("audit").code == 0

    def routable(self) -> bool:
        """Whether inference, which decides, has heard of routes that take such a job."""
        headers = {"Authorization": f"Bearer {self.environment['CALOTYPE_KEY']}"}
        answer = httpx.post(f"{self.url}/v1/explain-route", json={}, headers=headers, trust_env=False)
        return bool(answer.json()["routable"])


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to that"
    return found
