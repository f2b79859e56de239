"""Who is called for images in the world: scripted servers with ledgers of their own, in the cloud and at home."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.servers import bedrock
from tests.servers.provider import Provider
from tests.servers.replicate import Replicate
from tests.servers.stability import Stability


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """`settings`: what inference must know of it besides its address; `usual`: its script while it is not struck."""

    server: type[Provider]
    kind: str
    visibility: Literal["cloud", "private"] = "cloud"
    settings: Mapping[str, str] = field(default_factory=dict)
    usual: Mapping[str, Any] = field(default_factory=lambda: {"weights": {"ok": 1}})

    @property
    def module(self) -> str:
        return self.server.__module__


# By the name of their account, which is their ledgers' folder too.
PROVIDERS: Mapping[str, Scripted] = {
    "acme": Scripted(server=Provider, kind="openai"),
    "own": Scripted(server=Provider, kind="openai", visibility="private"),
    "stability": Scripted(server=Stability, kind="stability"),
    "replicate": Scripted(
        server=Replicate, kind="replicate", usual={"weights": {"ok": 2, "runs": 1}, "slow_seconds": 1.5}
    ),
    "bedrock": Scripted(
        server=bedrock.Bedrock,
        kind="bedrock",
        settings={"key": bedrock.SECRET, "key_id": bedrock.KEY_ID, "region": bedrock.REGION},
    ),
}


def inference_environment(addresses: Mapping[str, str], *, key: str) -> dict[str, str]:
    """What makes an inference service call them; `addresses` without a path."""
    told = {
        name: {"kind": each.kind, "url": addresses[name] + each.server.prefix, "key": key, **each.settings}
        for name, each in PROVIDERS.items()
    }
    return {"CALOTYPE_PROVIDERS": json.dumps(told)}
