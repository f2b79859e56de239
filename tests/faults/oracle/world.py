"""Where everything stands that a run leaves behind: `world.json`, written by whoever started the world."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

# What is not named here is the catalog's, as behind the address that people use.
PATHS = {
    "/v1/requests": "intake",
    "/v1/batches": "intake",
    "/v1/workspaces": "intake",
    "/v1/keys": "intake",
    "/v1/library": "intake",
    "/v1/usage": "intake",
    "/v1/sources": "intake",
    "/v1/replays": "inference",
    "/v1/queue": "inference",
    "/v1/explain-route": "inference",
    "/v1/uncertain": "inference",
    "/v1/publications": "publisher",
    "/v1/targets": "publisher",
}


@dataclass(frozen=True, kw_only=True)
class World:
    """`providers`: the scripted ones by name, each `cloud` or `private`; `receiver`: the webhook receiver's address.

    `logs` are those of the services and the scripted servers, `server_logs` Kafka's and Postgres's.
    """

    database_url: str
    kafka: str
    prefix: str
    partitions: int
    blobs: dict[str, str]
    published: Path
    logs: Path
    ledgers: Path
    services: dict[str, str]
    bootstrap_token: str
    server_logs: Path | None = None
    secrets: tuple[str, ...] = ()
    prompts_canary: str = ""
    providers: dict[str, str] = field(default_factory=dict)
    receiver: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        told = json.loads(path.read_text())
        known = {name: told.pop(name) for name in cls.__dataclass_fields__ if name in told and name != "more"}
        for name in ("published", "logs", "ledgers"):
            known[name] = Path(known[name])
        if known.get("server_logs"):
            known["server_logs"] = Path(known["server_logs"])
        known["secrets"] = tuple(known.get("secrets", ()))
        return cls(**known, more=told)

    def write(self, path: Path) -> None:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "more"}
        path.write_text(json.dumps(fields | self.more, default=str, indent=2))

    def address(self, path: str) -> str:
        """The address of a path of the API, at the service that serves it."""
        if path.startswith("/v1/stages/"):
            return self.services[path.split("/")[3]] + path
        place = "/".join(path.partition("?")[0].split("/")[:3])
        return self.services[PATHS.get(place, "catalog")] + path
