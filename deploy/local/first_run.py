"""The first run of an installation: a workspace, its admin key, and the library that is published into it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.errors import Problem
from deploy.local.data import DataFolder, read_json, write_json
from shared.library.reading import read_folder

KEYS = "keys.json"
FIRST_WORKSPACE = "studio"


@dataclass(frozen=True, slots=True)
class Access:
    """How a person at this machine reaches a workspace."""

    name: str
    workspace: str
    key_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def known_access(data: DataFolder, name: str | None = None) -> Access | None:
    """The key kept in the data folder: of the workspace named, else of the first one made."""
    kept: dict[str, dict[str, str]] = read_json(data.root / KEYS)
    found = kept.get(name) if name else next(iter(kept.values()), None)
    return Access(**found) if found else None


async def ensure_workspace(client: httpx.AsyncClient, data: DataFolder, *, name: str) -> Access:
    """The workspace and its key, made the first time; the key is kept in the data folder for its owner's eyes only."""
    if access := known_access(data, name):
        return access
    answer = await client.post(
        "/v1/workspaces",
        json={"name": name, "principal": "admin"},
        headers={"Authorization": f"Bearer {data.secret('bootstrap_token')}"},
    )
    made = checked(answer)
    access = Access(name=name, workspace=made["workspace"], key_id=made["key_id"], token=made["token"])
    kept = read_json(data.root / KEYS)
    write_json(data.root / KEYS, kept | {name: {field: getattr(access, field) for field in Access.__slots__}})
    return access


async def sign_in_link(client: httpx.AsyncClient, access: Access, *, path: str = "/") -> str:
    """An address that signs one browser in, once."""
    return str(checked(await client.post("/v1/links", json={"next": path}, headers=access.headers))["url"])


async def publish_library(client: httpx.AsyncClient, access: Access, folder: Path) -> list[str]:
    """Publishes every document of the folder that is new; says which were."""
    reading = read_folder(folder)
    if reading.findings:
        raise Problem(str(reading.findings[0]), remedy=f"Run `calotype library lint {folder}`.")
    documents = [document.model_dump(mode="json") for document, _ in reading.documents]
    answer = await client.post("/v1/library", json={"documents": documents}, headers=access.headers)
    return list(checked(answer)["published"])


def checked(answer: httpx.Response) -> Any:
    """The answer's JSON, or its problem with the remedy."""
    if answer.is_success:
        return answer.json()
    try:
        told = answer.json()
    except ValueError:
        told = {}
    what = told.get("detail") or f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}"
    where = f" ({told['where']})" if told.get("where") else ""
    raise Problem(f"{what}{where}", remedy=told.get("remedy") or "Look into `calotype logs`.")
