"""What the campaigns of the load are made of: pictures of 64 pixels with one small file each."""

from collections.abc import Collection
from typing import Any

from tests.servers.provider import PRICE, PRICES

CAMPAIGN = "tide"
ASSET_TYPES = ("tile", "card")
# Its rubric rejects what has no alt text, and stops at what came before.
STAMP = "stamp"
UNTOLD = "untold"  # a mood that nobody has words for
CHANNEL = "web"
RECIPE = "web"
SIDES = {1: 32, 2: 24}  # of its files, by its version
LOOKED_AT = {"lines": [{"id": "sharp", "text": "It is sharp"}]}
REJECTS = "metadata"
ALT_TEXT = f"{{{{ '' if '{UNTOLD}' in mood else headline }}}}"
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
        {"kind": "rubric", "name": "tiles", **LOOKED_AT},
        {
            "kind": "rubric",
            "name": "stamps",
            **LOOKED_AT,
            "rejecting_checks": [REJECTS],
            "blocking_checks": ["twin"],
            "limits": {"twin": 0.95},  # at 64 px any two comps are alike by half
        },
        *({"kind": "template", "name": name, **_template(name)} for name in ASSET_TYPES),
        {"kind": "template", "name": STAMP, **_template(STAMP), "alt_text": ALT_TEXT, "caption": "{{ headline }}"},
        recipe(version=1),
        {
            "kind": "campaign",
            "name": CAMPAIGN,
            "title": "Tide",
            "brand": "salt",
            "asset_types": {
                **{name: _asset_type(name, rubric="tiles") for name in ASSET_TYPES},
                STAMP: _asset_type(STAMP, rubric="stamps"),
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


def recipe(*, version: int) -> dict[str, Any]:
    """Each version makes the channel's one file of another size."""
    width = SIDES[version]
    rendition = {"name": str(width), "width": width, "height": width, "format": "jpeg"}
    document = {"kind": "recipe", "name": RECIPE, "version": version, "owner": "faults", "channel": CHANNEL}
    return document | {"renditions": [rendition]}


def _asset_type(name: str, *, rubric: str) -> dict[str, Any]:
    return {"template": name, "recipes": {CHANNEL: RECIPE}, "rubric": rubric}


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
