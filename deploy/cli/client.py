"""How a verb speaks to a running Calotype: its address and a key, from the environment or from the data folder."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.errors import Problem
from deploy.local.data import DataFolder
from deploy.local.first_run import checked, known_access

URL = "CALOTYPE_URL"
KEY = "CALOTYPE_KEY"
BOOTSTRAP = "CALOTYPE_BOOTSTRAP_TOKEN"
FILE_SECONDS = 300.0  # a large batch file is stored while it is sent


class Client:
    """Calls that answer with JSON, or raise a Problem that says what to do."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.call("POST", path, **({} if body is None else {"json": body}), **options)

    def call(self, method: str, path: str, **options: Any) -> Any:
        answer = self.send(method, path, **options)
        return None if answer.status_code == 204 else checked(answer)

    def checked(self, answer: httpx.Response) -> Any:
        """The answer's JSON. Raises Problem with what it says instead."""
        return checked(answer)

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer itself, whatever it says."""
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Problem(
                f"{self._http.base_url} does not answer: {error}.",
                remedy="See `calotype status`, or correct CALOTYPE_URL.",
            ) from error


def of_stages(
    client: Client, stages: Sequence[str], path: str, query: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What each stage answers under `/v1/stages/<stage>/`, None where it is away; a refusal ends the command."""
    wanted = {name: value for name, value in (query or {}).items() if value is not None}
    answers = {stage: client.send("GET", f"/v1/stages/{stage}/{path}", params=wanted) for stage in stages}
    return {stage: None if a.status_code >= 500 else client.checked(a) for stage, a in answers.items()}


@contextmanager
def connected(data: Path, *, workspace: str | None = None) -> Iterator[Client]:
    """A client with the key of CALOTYPE_KEY, else the one the data folder keeps for the workspace (its first)."""
    folder = DataFolder(data)
    token = os.environ.get(KEY)
    if token is None:
        access = known_access(folder, workspace)
        if access is None:
            whose = f"for workspace {workspace!r} " if workspace else ""
            raise Problem(
                f"There is no key {whose}in {folder.root}.",
                remedy=f"Set {KEY}, or name the folder of a running `calotype up` with --data.",
            )
        token = access.token
    with _speaking(folder, token) as client:
        yield client


@contextmanager
def connected_as_owner(data: Path) -> Iterator[Client]:
    """A client with the bootstrap token: who runs the installation may make workspaces."""
    folder = DataFolder(data)
    token = os.environ.get(BOOTSTRAP)
    if token is None:
        if address_of(folder) is None:
            raise _nothing_runs(folder)
        token = folder.secret("bootstrap_token")
    with _speaking(folder, token) as client:
        yield client


def address_of(folder: DataFolder) -> str | None:
    return os.environ.get(URL) or folder.local_address()


def _nothing_runs(folder: DataFolder) -> Problem:
    return Problem(f"Nothing runs on {folder.root}.", remedy=f"Start it with `calotype up`, or set {URL}.")


@contextmanager
def _speaking(folder: DataFolder, token: str) -> Iterator[Client]:
    address = address_of(folder)
    if address is None:
        raise _nothing_runs(folder)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, headers=headers, timeout=FILE_SECONDS, trust_env=False) as http:
        yield Client(http)
