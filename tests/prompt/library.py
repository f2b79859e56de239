"""Builders: the smallest library a request can be made against; each document takes changes by name."""

from typing import Any

from shared.library.documents import (
    AnyDocument,
    AssetType,
    Brand,
    BrandProduct,
    Campaign,
    LockedParameters,
    Policy,
    Recipe,
    Rendition,
    Rubric,
    Rule,
    Template,
    Variable,
)
from shared.library.shelf import Shelf


def brand(**changes: Any) -> Brand:
    fields: dict[str, Any] = {
        "name": "salt-linden",
        "version": 1,
        "owner": "brand@example.com",
        "title": "Salt & Linden",
        "palette": {"bone": "#F2ECE0", "brine": "#2E4B52"},
        "lighting": ["window light"],
        "composition": ["one product"],
        "prohibited": ["people", "wet skin"],
        "products": [
            BrandProduct(sku="OIL-100", name="Body Oil", form="bottle", tint="#8A4B14", label={"line": "100 ml"}),
            BrandProduct(sku="FROST", name="First Frost", form="diffuser", confidentiality="confidential"),
        ],
    }
    return Brand(**{**fields, **changes})


def template(**changes: Any) -> Template:
    fields: dict[str, Any] = {
        "name": "product-tile",
        "version": 3,
        "owner": "studio@example.com",
        "brand": "salt-linden",
        "policy": "house",
        "variables": {
            "setting": Variable(type="choice", values=["stone-sink", "linen"], required=True),
            "season": Variable(type="choice", values=["winter", "summer"], default="winter"),
            "headline": Variable(max_length=60),
        },
        "components": {"place": "on {{ setting | replace('-', ' ') }}"},
        "prompt": "{{ product.name }} {{ components.place }}, {{ season }}",
        "negative_prompt": "text, watermark",
        "parameters": LockedParameters(width=1024, height=1024, steps=30),
        "scene": {"wall": "{{ 'bone' if setting == 'linen' else 'brine' }}", "light_side": "left"},
        "alt_text": "{{ product.name }} {{ components.place }}",
    }
    return Template(**{**fields, **changes})


def policy(**changes: Any) -> Policy:
    rule = Rule(
        id="medical-claims",
        terms=["cures", "heals eczema"],
        why="cosmetics make no medical claims",
        remedy="drop the claim",
    )
    return Policy(**{"name": "house", "version": 1, "owner": "legal@example.com", "rules": [rule], **changes})


def recipe(channel: str = "web", **changes: Any) -> Recipe:
    fields = {"name": channel, "version": 1, "owner": "web@example.com", "channel": channel}
    return Recipe(**{**fields, "renditions": [Rendition(name="large", width=1200, height=1200)], **changes})


def rubric(**changes: Any) -> Rubric:
    return Rubric(**{"name": "tiles", "version": 1, "owner": "studio@example.com", **changes})


def campaign(**changes: Any) -> Campaign:
    fields: dict[str, Any] = {
        "name": "winter",
        "version": 1,
        "owner": "marketing@example.com",
        "title": "Winter",
        "brand": "salt-linden",
        "asset_types": {
            "tile": AssetType(template="product-tile", recipes={"web": "web", "email": "email"}, rubric="tiles")
        },
    }
    return Campaign(**{**fields, **changes})


def documents() -> list[AnyDocument]:
    return [brand(), template(), policy(), recipe("web"), recipe("email"), rubric(), campaign()]


def shelf(*more: AnyDocument) -> Shelf:
    return Shelf([*documents(), *more])
