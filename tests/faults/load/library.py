"""What the campaigns of the load are made of: pictures of 64 pixels with one small file each."""

from collections.abc import Collection
from typing import Any

from tests.servers.provider import PRICE, PRICES

CAMPAIGN = "tide"
ASSET_TYPES = ("tile", "card")
CHANNEL = "web"
PROOF = "proof"
FOLDER, HOOK = "shelf", "hook"
CALL_SECONDS = 6  # a provider that hangs must not hold a run up
# Each variable alone is let in, and the prompt that is made of them is not.
REFUSED, BEGUN, ENDED = "contraband", "contra", "band"


EDITS = ["text-to-image", "image-to-image"]
# Named after the account that each calls, or that and what it asks for there.
BACKENDS: tuple[dict[str, Any], ...] = (
    {"name": "acme", "kind": "openai", "model": "gpt-image-1", "capabilities": EDITS},
    {"name": "own", "kind": "openai", "visibility": "private", "model": "house", "capabilities": EDITS},
    {"name": "stability", "kind": "stability", "model": "core"},
    {"name": "replicate", "kind": "replicate", "model": "stability-ai/sdxl", "call": {"takes": ["seed"]}},
    {"name": "bedrock", "kind": "bedrock", "model": "stability.stable-image-core-v1:1"},
    {"name": "bedrock-amazon", "kind": "bedrock", "model": "amazon.nova-canvas-v1:0", "capabilities": EDITS},
)


def documents(*, providers: Collection[str], receiver: str | None) -> list[dict[str, Any]]:
    """With providers, some work that may leave goes to the cloud; with a receiver, everything is told to it too."""
    found: list[dict[str, Any]] = [
        {"kind": "brand", "name": "salt", "title": "Salt"},
        {
            "kind": "policy",
            "name": "house",
            "rules": [{"id": "no", "terms": [REFUSED], "why": "no", "remedy": "ask for another"}],
        },
        {"kind": "rubric", "name": "tiles", "lines": [{"id": "sharp", "text": "It is sharp"}]},
        *({"kind": "template", "name": name, **_template(name)} for name in ASSET_TYPES),
        {
            "kind": "recipe",
            "name": "web",
            "channel": CHANNEL,
            "renditions": [{"name": "32", "width": 32, "height": 32, "format": "jpeg"}],
        },
        {
            "kind": "campaign",
            "name": CAMPAIGN,
            "title": "Tide",
            "brand": "salt",
            "asset_types": {
                name: {"template": name, "recipes": {CHANNEL: "web"}, "rubric": "tiles"} for name in ASSET_TYPES
            },
        },
        {"kind": "routes", "name": "default", **_routes(providers)},
        {"kind": "target", "name": FOLDER, "type": "folder", "demo": True, "ceiling": "internal"},
    ]
    if receiver is not None:
        found.append(
            {
                "kind": "target",
                "name": HOOK,
                "type": "webhook",
                "demo": True,
                "ceiling": "confidential",
                "settings": {
                    "url": f"{receiver}/hooks/{HOOK}",
                    "secrets": ["hook_new", "hook_old"],
                    "timeout_seconds": 5,
                },
            }
        )
    return [{"version": 1, "owner": "faults", **document} for document in found]


def _template(name: str) -> dict[str, Any]:
    return {
        "brand": "salt",
        "policy": "house",
        "variables": {"headline": {"type": "text"}, "mood": {"type": "text"}},
        "prompt": f"A quiet {name} that is {{{{ mood }}}}, for {{{{ headline }}}}{ENDED}",
        "parameters": {"width": 64, "height": 64},
    }


def _routes(providers: Collection[str]) -> dict[str, Any]:
    """Confidential work has clouds between what may take it: the law has to keep it from them, on fallback too."""
    proof = {"name": PROOF, "kind": "proof", "visibility": "private", "price": "0"}
    rules: list[dict[str, Any]] = [
        {"id": "private", "confidentiality": ["confidential"], "lane": "dedicated", "backends": [PROOF]},
        {"id": "files", "bulk": True, "lane": "bulk", "backends": [PROOF]},
        {"id": "rest", "lane": "standard", "backends": [PROOF]},
    ]
    called = [_called(each) for each in BACKENDS if _account(each) in providers]
    if called:
        rules[0]["backends"] = ["own", "acme", "stability", PROOF]
        rules[2]["canary"] = {"backend": "bedrock-amazon", "percent": 10}
        urgent = {
            "id": "urgent",
            "priority": ["high"],
            "lane": "standard",
            "backends": ["acme", "stability", "bedrock-amazon"],
        }
        patient = {
            "id": "patient",
            "priority": ["low"],
            "lane": "standard",
            "backends": ["bedrock", "replicate", PROOF],
        }
        rules[1:1] = [
            urgent | {"canary": {"backend": "stability", "percent": 20}},
            patient | {"canary": {"backend": "replicate", "percent": 60}},
        ]
    return {"backends": [proof, *called], "rules": rules}


def _called(backend: dict[str, Any]) -> dict[str, Any]:
    call = {"provider": _account(backend), "timeout_seconds": CALL_SECONDS, "sizes": ["64x64"]}
    price = PRICES.get(backend["model"], PRICE)
    return {"visibility": "cloud", "price": price, "concurrency": 8, **backend, "call": call | backend.get("call", {})}


def _account(backend: dict[str, Any]) -> str:
    return str(backend["name"]).partition("-")[0]
