"""One golden example of every event, as it goes over the wire: headers and body.

Every released version's examples must decode for ever; the tests do that.
"""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from shared import events, ids
from shared.events import Event

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
WORKSPACE = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
REQUEST = ids.request_id_for_http(WORKSPACE, "shop", "order-1")
JOB = ids.job_id(REQUEST, 1)
ASSET = ids.asset_id(JOB, 1)
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
VERSION = ids.asset_version_id(ASSET, SHA, [SHA])
ATTEMPT = ids.attempt_id(JOB, 1, 1)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CAUSE = ids.event_id("ImageRequested", REQUEST, "order-1")


def _pin(name: str) -> events.Pin:
    return events.Pin(name=name, version=3, digest=SHA)


def _file(name: str, **more: Any) -> events.File:
    return events.File(
        name=name,
        media_type="image/png",
        bytes=812_345,
        sha256=SHA,
        key=f"ws/{WORKSPACE}/{ASSET}/{SHA}.png",
        width=1024,
        height=1024,
        **more,
    )


def _public_file() -> events.PublicFile:
    return events.PublicFile(
        name="winter-home-sl-cnd-220-v1-web-large.webp",
        media_type="image/webp",
        bytes=91_204,
        sha256=SHA,
        width=1600,
        height=1600,
        recipe="web@2",
        rendition="large",
        url=f"https://images.example.com/v1/files/{ids.derivative_id(ASSET, SHA, SHA, 'large')}",
    )


BRIEF = events.Brief(
    campaign="winter-home",
    asset_type="product-tile",
    template="product-tile@3",
    brand="salt-and-linden",
    skus=["SL-CND-220"],
    product="Salt Marsh candle",
    locale="en-GB",
    headline="Evenings, kept",
    channels=["web", "social"],
    licence="all markets",
    batch_id=ids.batch_id(WORKSPACE, "winter-home"),
    row_key="r-07",
    variant=1,
    variants=3,
)
_JOB: dict[str, Any] = {"workspace": WORKSPACE, "request_id": REQUEST, "job_id": JOB, "client_reference": "order-1"}
_ASSET: dict[str, Any] = _JOB | {
    "asset_id": ASSET,
    "asset_version_id": VERSION,
    "confidentiality": events.Confidentiality.PUBLIC,
}
_SOURCE = events.SourceUse(
    role=events.SourceRole.REFERENCE,
    source_id=ids.source_id(WORKSPACE, SHA),
    key=f"ws/{WORKSPACE}/{ids.source_id(WORKSPACE, SHA)}/{SHA}.png",
    sha256=SHA,
    media_type="image/png",
    width=1600,
    height=1200,
)
_ATTEMPT = events.Attempt(
    attempt_id=ATTEMPT, backend="proof", state=events.AttemptState.SUCCEEDED, cost=Decimal("0.00"), seconds=0.41
)
_RECIPE = events.Pin(name="web", version=4, digest=SHA)
_PUBLICATION: dict[str, Any] = _ASSET | {
    "publication_id": ids.publication_id(VERSION, "dam-folder"),
    "target": "dam-folder",
}
_ROUTE = events.Route(
    backend="proof",
    lane=events.Lane.STANDARD,
    rule="public",
    reason="public, no reference needed",
    refused={"cloud": "disabled"},
)
_CHECK = events.Verdict(
    check="bytes", ok=True, number=91_204, limit=200_000, unit="bytes", sentence="large has 91 kB of 200 kB."
)
_APPROVER = events.Approver(principal="mara", at=AT)

FIELDS: dict[type[Event], dict[str, Any]] = {
    events.RequestAccepted: {
        "workspace": WORKSPACE,
        "request_id": REQUEST,
        "client_reference": "order-1",
        "principal": "shop",
        "brief": BRIEF,
        "template": _pin("product-tile"),
        "brand": _pin("salt-and-linden"),
        "policy": _pin("house"),
        "rubric": _pin("tile"),
        "campaign": _pin("winter-home"),
        "recipes": {"web": _pin("web"), "social": _pin("social")},
        "products": [
            events.Product(sku="SL-CND-220", name="Salt Marsh candle", form="candle", finish="ceramic", tint="bone")
        ],
        "variables": {"setting": "brine", "headline": "Evenings, kept"},
        "variants": 3,
        "confidentiality": "public",
        "seed": 4210,
        "sources": [_SOURCE],
        "strength": 0.6,
    },
    events.RequestRejected: {
        "workspace": WORKSPACE,
        "subject": "shop/order-2",
        "origin": "image-requests",
        "origin_id": "order-2",
        "problems": [
            events.Problem(
                code="not_allowed",
                what="'beach' is not a setting",
                where="variables.setting",
                remedy="use brine or bone",
            )
        ],
    },
    events.RequestCompleted: {
        "workspace": WORKSPACE,
        "request_id": REQUEST,
        "jobs": {"approved": 2, "rejected": 1},
        "cost": Decimal("0.12"),
    },
    events.CancelRequested: {
        "workspace": WORKSPACE,
        "request_id": REQUEST,
        "job_id": JOB,
        "by": "mara",
        "reason": "wrong season",
    },
    events.PromptAssembled: _JOB
    | {
        "brief": BRIEF,
        "prompt": "a bone candle on a brine wall, window light",
        "negative_prompt": "people, wet skin",
        "parameters": events.Parameters(width=1024, height=1024, steps=20, guidance=7.0),
        "seed": 4210,
        "scene": {"layout": "tile", "wall": "brine"},
        "template": _pin("product-tile"),
        "rubric": _pin("tile"),
        "recipes": {"web": _pin("web")},
        "alt_text": "A candle on a dark green wall",
        "confidentiality": "public",
        "sources": [_SOURCE],
        "strength": 0.6,
    },
    events.JobProgressed: _JOB | {"stage": "inference", "step": 12, "steps": 20},
    events.ImageGenerated: _JOB
    | {
        "asset_id": ASSET,
        "brief": BRIEF,
        "original": _file("original.png"),
        "manifest": _file("manifest.json"),
        "mask": _file("mask.png"),
        "route": _ROUTE,
        "model": "proof",
        "seed": 4210,
        "attempts": [_ATTEMPT],
        "focal": (0.5, 0.55),
        "live_area": (0.1, 0.1, 0.9, 0.9),
        "source_type": "algorithmicMedia",
        "template": _pin("product-tile"),
        "rubric": _pin("tile"),
        "recipes": {"web": _pin("web")},
        "confidentiality": "public",
    },
    events.ImageProcessed: _ASSET
    | {
        "brief": BRIEF,
        "original": _file("original.png"),
        "files": [_file("large.webp", recipe="web@2", rendition="large")],
        "proxies": [_file("proxy-320.webp", rendition="320")],
        "checks": [_CHECK],
        "focal": (0.5, 0.55),
        "source_type": "algorithmicMedia",
        "rubric": _pin("tile"),
        "alt_text": "A candle on a dark green wall",
    },
    events.DerivativesFailed: _JOB
    | {
        "asset_id": ASSET,
        "supersedes": VERSION,
        "reason": "invalid_request",
        "detail": "web@4, large: there is no operation 'crpo'",
        "remedy": "publish a corrected version of the recipe and ask again",
        "confidentiality": "public",
    },
    events.JobFailed: _JOB
    | {
        "stage": "prompt",
        "reason": "policy_refused",
        "detail": "rule medical-claims: 'heals'",
        "remedy": "say what it does for the room",
        "attempts": [],
        "confidentiality": "public",
    },
    events.JobCancelled: _JOB
    | {"stage": "inference", "by": "mara", "attempts": [_ATTEMPT], "confidentiality": "public"},
    events.JobRetried: _JOB | {"run": 2, "by": "ops"},
    events.AttemptSettled: _JOB | {"attempt": _ATTEMPT},
    events.ReviewNeeded: _ASSET,
    events.ReviewRecorded: _ASSET | {"decision": "approve", "by": "mara", "rubric": ["product-matches", "light"]},
    events.AssetApproved: _ASSET
    | {
        "files": [_public_file()],
        "alt_text": "A candle on a dark green wall",
        "brief": BRIEF,
        "approvers": [_APPROVER],
        "rubric": _pin("tile"),
        "source_type": "algorithmicMedia",
    },
    events.AssetRejected: _ASSET
    | {"code": "off_palette", "reason": "saffron wall", "by": _APPROVER, "rubric": _pin("tile")},
    events.AssetRecalled: _ASSET | {"reason": "label changed", "by": "mara"},
    events.AssetExpired: _ASSET | {"expired_at": AT},
    events.AssetPublished: _PUBLICATION
    | {
        "location": "published/winter-home",
        "delivered_at": AT,
        "files": [_public_file()],
        "receipts": [
            events.Receipt(location="published/winter-home/large.webp", sha256=SHA, bytes=91_204, name="large.webp")
        ],
    },
    events.PublicationFailed: _PUBLICATION
    | {"code": "above_ceiling", "detail": "the target takes public work only", "remedy": "choose another target"},
    events.PublicationWithdrawn: _PUBLICATION | {"reason": "recalled"},
    events.AssetSuperseded: _PUBLICATION | {"superseded_by": uuid.uuid5(ids.NAMESPACE, "newer")},
    events.LibraryItemChanged: {
        "workspace": WORKSPACE,
        "item": f"{WORKSPACE}/template/product-tile@3",
        "kind": "template",
        "name": "product-tile",
        "version": 3,
        "digest": SHA,
        "state": "published",
        "owner": "studio",
        "revision": 4,
    },
    events.WorkspaceChanged: {
        "workspace": WORKSPACE,
        "name": "salt-and-linden",
        "limits": events.Limits(jobs_per_day=5000),
        "revision": 7,
        "keys": [events.ApiKey(key_id="a1b2c3", sha256=SHA, principal="shop", roles=["requester"])],
    },
}

FIELDS[events.DerivativesRequested] = _JOB | {
    "asset_id": ASSET,
    "supersedes": VERSION,
    "by": "mara",
    "image": events.ImageGenerated.of(
        cause_id=CAUSE,
        occurred_at=AT,
        **FIELDS[events.ImageGenerated] | {"recipes": {"web": _RECIPE}},
    ),
    "confidentiality": "public",
}


REQUESTED = {
    "campaign": "winter-home",
    "asset_type": "product-tile",
    "skus": ["SL-CND-220"],
    "variables": {"setting": "brine", "headline": "Evenings, kept"},
    "channels": ["web", "social"],
    "variants": 3,
    "locale": "en-GB",
    "priority": "normal",
    "confidentiality": "public",
    "seed": 4210,
    "sources": [{"source": str(ids.source_id(WORKSPACE, SHA)), "role": "reference"}],
    "strength": 0.6,
    "client_reference": "order-1",
}


def golden_request() -> dict[str, Any]:
    """The one foreign event, as an upstream system sends it in binary mode."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "order-1",
        "ce_source": "/shop",
        "ce_type": "calotype.ImageRequested",
        "ce_workspace": str(WORKSPACE),
        "content-type": "application/json",
        "traceparent": TRACEPARENT,
    }
    return {"headers": headers, "body": REQUESTED}


def golden(event: type[Event]) -> Event:
    return event.of(cause_id=CAUSE, occurred_at=AT, traceparent=TRACEPARENT, **FIELDS[event])


def golden_record(event: type[Event]) -> dict[str, Any]:
    """Headers and body as they go over the wire."""
    example = golden(event)
    return {
        "headers": {name: value.decode() for name, value in example.headers()},
        "body": orjson.loads(example.body()),
    }
