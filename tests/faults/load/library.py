"""What the campaigns of the load are made of: pictures of 64 pixels with one small file each."""

from typing import Any

from tests.servers.provider import NAME as PROVIDER

CAMPAIGN = "tide"
ASSET_TYPES = ("tile", "card")
CHANNEL = "web"
PROOF, CLOUD = "proof", "cloud"
FOLDER, HOOK = "shelf", "hook"
CALL_SECONDS = 6  # a provider that hangs must not hold a run up
# Each variable alone is let in, and the prompt that is made of them is not.
REFUSED, BEGUN, ENDED = "contraband", "contra", "band"


def documents(*, provider: str | None, receiver: str | None) -> list[dict[str, Any]]:
    """With a provider, urgent work that may leave goes to the cloud; with a receiver, everything is told to it too."""
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
        {"kind": "routes", "name": "default", **_routes(provider)},
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


def _routes(provider: str | None) -> dict[str, Any]:
    backends: list[dict[str, Any]] = [{"name": PROOF, "kind": "proof", "visibility": "private", "price": "0"}]
    rules: list[dict[str, Any]] = [
        {"id": "private", "confidentiality": ["confidential"], "lane": "dedicated", "backends": [PROOF]},
        {"id": "files", "bulk": True, "lane": "bulk", "backends": [PROOF]},
        {"id": "rest", "lane": "standard", "backends": [PROOF]},
    ]
    if provider is not None:
        cloud = {"name": CLOUD, "kind": "openai", "visibility": "cloud", "model": "gpt-image-1", "price": "0.04"}
        backends.append(cloud | {"call": {"provider": PROVIDER, "timeout_seconds": CALL_SECONDS}})
        rules.insert(1, {"id": "urgent", "priority": ["high"], "lane": "standard", "backends": [CLOUD]})
    return {"backends": backends, "rules": rules}
