"""What a decision must say, and what it becomes. No I/O."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.catalog.domain import RANKED
from services.catalog.ledger.facts import id_of
from services.catalog.review import machine
from shared import ids
from shared.contracts.rejection_codes import REJECTION_CODES
from shared.events import (
    Approver,
    AssetApproved,
    AssetRejected,
    File,
    ImageProcessed,
    JobStatus,
    PublicFile,
    ReviewRecorded,
)
from shared.events.words import ORIGINAL

MAX_AT_ONCE = 1000
STATUS_AFTER = {"approve": JobStatus.APPROVED, "reject": JobStatus.REJECTED}
SAID = {"approve": "approved", "reject": "rejected"}


class Verdict(BaseModel):
    """A person's decision as it is sent: on which version, building on which review."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    asset_version: UUID
    review_version: int = Field(default=0, ge=0)
    decision: Literal["approve", "reject"]
    code: str | None = None
    rubric: list[str] = Field(default_factory=list, max_length=9, description="Lines of the rubric that are met")
    reason: str | None = Field(default=None, max_length=2000)

    @model_validator(mode="after")
    def _a_rejection_says_why(self) -> "Verdict":
        if self.decision == "reject" and self.code not in REJECTION_CODES:
            raise ValueError(f"a rejection needs a `code`: {', '.join(REJECTION_CODES)}")
        if self.decision == "approve" and self.code is not None:
            raise ValueError("an approval has no `code`")
        if "\x00" in (self.reason or "") + "".join(self.rubric) or any("\x1f" in line for line in self.rubric):
            raise ValueError("control characters cannot be kept")
        return self


class AssetVerdict(Verdict):
    """One of many."""

    asset_id: UUID


def decision_id(asset_version: UUID, review_version: int) -> UUID:
    """One decision per version and review: sending it again is the same decision."""
    return ids.derive("decision", asset_version, review_version)


def recorded(decision: Mapping[str, Any], asset: ImageProcessed, *, word: str | None = None) -> ReviewRecorded:
    """The fact that somebody decided, or took it back (`word` is then `undo`)."""
    undone = word == "undo"
    return ReviewRecorded.of(
        cause_id=ids.derive("undo", decision["decision_id"]) if undone else decision["decision_id"],
        occurred_at=decision["ended_at"] if undone else decision["decided_at"],
        workspace=asset.workspace,
        client_reference=asset.client_reference,
        traceparent=decision["traceparent"] or asset.traceparent,
        request_id=asset.request_id,
        job_id=asset.job_id,
        asset_id=asset.asset_id,
        asset_version_id=asset.asset_version_id,
        decision=word or decision["decision"],
        by=decision["ended_by"] if undone else decision["principal"],
        code=None if undone else decision["code"],
        reason=None if undone else decision["reason"],
        rubric=[] if undone else list(decision["rubric"]),
    )


def concluded(decision: Mapping[str, Any], asset: ImageProcessed, *, public_url: str) -> AssetApproved | AssetRejected:
    """The decision as a fact, complete in itself: a DAM needs nothing else of us."""
    approver = Approver(principal=decision["principal"], at=decision["decided_at"])
    shared: dict[str, Any] = {
        "cause_id": decision["decision_id"],
        "occurred_at": decision["ended_at"],
        "workspace": asset.workspace,
        "client_reference": asset.client_reference,
        "traceparent": decision["traceparent"] or asset.traceparent,
        "request_id": asset.request_id,
        "job_id": asset.job_id,
        "run": asset.run,
        "asset_id": asset.asset_id,
        "asset_version_id": asset.asset_version_id,
        "confidentiality": asset.confidentiality,
        "rubric": asset.rubric,
        "supersedes": asset.supersedes,
    }
    if decision["decision"] == "reject":
        return AssetRejected.of(**shared, code=decision["code"], reason=decision["reason"], by=approver)
    return AssetApproved.of(
        **shared,
        files=[
            public_file(asset, file, public_url=public_url, rendition=file.rendition or ORIGINAL)
            for file in asset.published
        ],
        alt_text=asset.alt_text,
        caption=asset.caption,
        brief=asset.brief,
        approvers=[approver],
        source_type=asset.source_type,
    )


def public_file(asset: ImageProcessed, file: File, *, public_url: str, rendition: str | None) -> PublicFile:
    return PublicFile(
        name=file.name,
        media_type=file.media_type,
        bytes=file.bytes,
        sha256=file.sha256,
        url=f"{public_url}/v1/files/{id_of(asset.asset_id, file)}",
        width=file.width,
        height=file.height,
        recipe=file.recipe,
        rendition=rendition,
        unsigned_sha256=file.unsigned_sha256,
    )


def conflict(row: Mapping[str, Any], verdict: AssetVerdict) -> tuple[str, dict[str, Any]]:
    """Why a decision was not taken, in a sentence, and the same as fields."""
    if row["decision_id"] is not None and row["open_version"] is None:
        at: datetime = row["decided_at"]
        named = {
            "by": row["principal"],
            "at": at.isoformat(),
            "decision": row["decision"],
            "decision_id": str(row["decision_id"]),
            "review_version": row["review_version"],
        }
        return f"{machine.named(row['principal'])} {SAID[row['decision']]} at {at:%H:%M} UTC", named
    if row["open_version"] is not None and row["open_version"] != verdict.asset_version:
        return "the asset has a newer version than the one you saw", {"asset_version": str(row["open_version"])}
    if row["open_at"] is not None:
        return (
            "somebody decided and took it back since you looked; look again",
            {"review_version": row["open_at"]},
        )
    why = f" by {row['ended_why']}" if row["ended_why"] else ""
    status = RANKED[row["rank"]]
    named = {"job_status": status, "at": row["since"].isoformat()}
    return f"the job was {status}{why} at {row['since']:%H:%M} UTC", named
