"""From a Kafka record to what the invariants need of it. Written from the documentation of topics and events."""

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from tests.faults.oracle.evidence import Event, Letter

# What a fact is about, where that is not its job.
SUBJECT = {
    **dict.fromkeys(("RequestAccepted", "CancelRequested", "RequestCompleted"), "request_id"),
    **dict.fromkeys(
        ("ReviewNeeded", "ReviewRecorded", "AssetApproved", "AssetRejected", "AssetRecalled", "AssetExpired"),
        "asset_version_id",
    ),
    **dict.fromkeys(
        ("AssetPublished", "PublicationFailed", "PublicationWithdrawn", "AssetSuperseded"), "publication_id"
    ),
    **dict.fromkeys(("DerivativesRequested", "DerivativesFailed"), "supersedes"),
    "RequestRejected": "subject",
    "LibraryItemChanged": "item",
    "WorkspaceChanged": "workspace",
}
# What some invariant reads of a body, besides the ids of its envelope.
READ = {
    "RequestAccepted": ("variants", "template", "brand", "policy", "rubric", "campaign", "recipes"),
    "RequestRejected": ("origin_id",),
    "RequestCompleted": ("jobs",),
    "CancelRequested": ("by",),
    "PromptAssembled": ("brief",),
    "ImageGenerated": ("asset_id", "original", "manifest", "mask", "attempts"),
    "ImageProcessed": (
        "asset_id",
        "asset_version_id",
        "original",
        "files",
        "proxies",
        "derivatives_manifest",
        "supersedes",
    ),
    "DerivativesRequested": ("asset_id", "supersedes"),
    "DerivativesFailed": ("asset_id", "supersedes", "asked", "reason", "detail"),
    "JobFailed": ("stage", "reason", "attempts"),
    "JobCancelled": ("stage", "by", "attempts"),
    "AttemptSettled": ("attempt",),
    "ReviewNeeded": ("asset_id", "asset_version_id"),
    "ReviewRecorded": ("asset_id", "asset_version_id", "decision"),
    "AssetApproved": ("asset_id", "asset_version_id", "files", "confidentiality", "supersedes"),
    "AssetRejected": ("asset_id", "asset_version_id", "by", "code", "reason", "supersedes"),
    "AssetPublished": ("publication_id", "asset_id", "asset_version_id", "target", "receipts"),
    "PublicationFailed": ("publication_id", "asset_version_id", "target", "code", "uncertain"),
    "AssetSuperseded": ("publication_id", "asset_version_id", "target", "superseded_by"),
}
# And what is gathered from deeper in it.
GATHERED: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "DerivativesRequested": lambda body: {"recipes": body["image"]["recipes"]},
    "ImageProcessed": lambda body: {
        "verdicts": [one for one in body["checks"] if not one["ok"] or one["check"] == TWIN]
    },
}
TWIN = "twin"
OURS = "/calotype/"
# While one service after another goes to the next version, both may tell the same fact, and one of them knows a field
# more (tests/faults/fixture_tree.py): that is no other meaning.
NEXT_VERSION = '"fixture_of_the_next_version":"known to the next version",'
NAMED = {"ce_id": "event_id", "ce_workspace": "workspace", "ce_requestid": "request_id", "ce_jobid": "job_id"}
Headers = Iterable[tuple[str, bytes]]


def read_event(headers: Headers, value: bytes | None, *, key: bytes | None = None) -> tuple[Event, str | None] | None:
    """The fact, and what its headers say that its body does not; None for what none of the services wrote."""
    said = dict(headers)
    if not said.get("ce_source", b"").startswith(OURS.encode()) or value is None:
        return None
    try:
        body: dict[str, Any] = orjson.loads(value)
        kind = said["ce_type"].decode().removeprefix("calotype.")
        event = Event(
            id=body["event_id"],
            type=sys.intern(kind),
            workspace=sys.intern(body["workspace"]),
            cause=str(body["cause_id"]),
            subject=str(body[SUBJECT.get(kind, "job_id")]),
            digest=meaning(value),
            request=_shared(body.get("request_id")),
            job=_shared(body.get("job_id")),
            run=body.get("run", 1),
            trace=trace_of(said.get("traceparent")),
            body=_read(kind, body),
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    wrong = [name for name, field in NAMED.items() if field in body and said.get(name) != str(body[field]).encode()]
    if said.get("traceparent") != said.get("ce_traceparent"):
        wrong.append("ce_traceparent")
    if key is not None and said.get("ce_partitionkey") != key:
        wrong.append("ce_partitionkey")
    return event, ", ".join(wrong) or None


def _read(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    read = {name: body[name] for name in READ.get(kind, ()) if name in body}
    return read | GATHERED[kind](body) if kind in GATHERED else read


def meaning(value: bytes) -> str:
    """Of a body's bytes, as this version would have written them."""
    return hashlib.sha256(value.replace(NEXT_VERSION.encode(), b"")).hexdigest()


def read_letter(headers: Headers, place: str) -> Letter:
    said = {name: (value or b"").decode(errors="replace") for name, value in headers}
    return Letter(
        origin=said.get("calotype-origin", place),
        group=said.get("calotype-group", "unknown"),
        reason=said.get("calotype-reason", "unknown"),
        detail=said.get("calotype-detail", ""),
        event=said.get("ce_id"),
    )


def trace_of(traceparent: bytes | str | None) -> str | None:
    """The trace's id."""
    text = traceparent.decode(errors="replace") if isinstance(traceparent, bytes) else traceparent
    parts = (text or "").split("-")
    return sys.intern(parts[1]) if len(parts) == 4 and len(parts[1]) == 32 else None


def _shared(text: str | None) -> str | None:
    """One object for the many facts that name it."""
    return None if text is None else sys.intern(text)


def files_of(event: Event) -> list[dict[str, Any]]:
    """Every file of the object store that the fact names."""
    body = event.body
    if event.type == "ImageGenerated":
        return [body["original"], body["manifest"], *_some(body.get("mask"))]
    if event.type == "ImageProcessed":
        return [body["original"], *body["files"], *body["proxies"], *_some(body.get("derivatives_manifest"))]
    return []


def documents_of(event: Event) -> list[dict[str, Any]]:
    """Every pinned document of a request."""
    body = event.body
    pins = [body.get(name) for name in ("template", "brand", "policy", "rubric", "campaign")]
    return [pin for pin in (*pins, *body.get("recipes", {}).values()) if pin]


def document_key(workspace: str, digest: str) -> str:
    return f"ws/{workspace}/library/{digest}.json"


def _some(value: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [value] if value else []
