"""Recipes as a library holds them."""

from typing import Any

from shared.library.documents import Recipe


def recipe(*renditions: dict[str, Any], channel: str = "web", version: int = 1) -> Recipe:
    return Recipe.model_validate(
        {"name": channel, "version": version, "owner": "design", "channel": channel, "renditions": list(renditions)}
    )


def rendition(name: str = "main", width: int = 100, height: int = 100, **fields: Any) -> dict[str, Any]:
    return {"name": name, "width": width, "height": height, **fields}


def step(op: str, **params: Any) -> dict[str, Any]:
    return {"op": op, "params": params}
