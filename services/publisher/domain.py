"""What may go where, and when a publication counts as delivered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import orjson

from shared import ids
from shared.credentials import Credentials
from shared.events import (
    AssetApproved,
    AssetPublished,
    AssetSuperseded,
    Confidentiality,
    PublicationFailed,
    PublicationState,
    PublicFile,
    Receipt,
    SourceType,
    Verified,
)
from shared.library.documents import TargetDocument

# Where a publication may go from each state; what is not listed is final. Recall and replacement leave `delivered`.
TRANSITIONS: dict[PublicationState, frozenset[PublicationState]] = {
    PublicationState.PENDING: frozenset(
        # Superseded without a delivery: a version that was approved later stands there already.
        {
            PublicationState.DELIVERED,
            PublicationState.FAILED,
            PublicationState.UNCERTAIN,
            PublicationState.SUPERSEDED,
        }
    ),
    PublicationState.UNCERTAIN: frozenset(
        {PublicationState.PENDING, PublicationState.DELIVERED, PublicationState.FAILED}  # again, or a person's word
    ),
    PublicationState.FAILED: frozenset({PublicationState.PENDING}),
    PublicationState.DELIVERED: frozenset({PublicationState.SUPERSEDED, PublicationState.WITHDRAWN}),
    PublicationState.SUPERSEDED: frozenset({PublicationState.WITHDRAWN}),
}
RETRIABLE = frozenset(state for state, following in TRANSITIONS.items() if PublicationState.PENDING in following)
# A model drew these, alone or with a person's photo. Everything else, and what a newer release may call it, is a proof.
DRAWN_BY_A_MODEL = frozenset({SourceType.TRAINED, SourceType.COMPOSITE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a publication fails for good, and what a person can do."""

    code: str
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One asset version on its way to one target; `tried_at` is when this try of it began, by the database's clock."""

    publication_id: UUID
    target: str
    asset: AssetApproved
    tried_at: datetime
    run: int = 1
    stated: bool = False
    traceparent: str | None = None

    @property
    def cause(self) -> UUID | str:
        """The approval; with a person's fresh start, or their word on how it ended: what follows is another fact."""
        start = self.asset.event_id if self.run == 1 else f"{self.asset.event_id}/{self.run}"
        return f"{start}/stated" if self.stated else start

    def at(self, moment: datetime) -> Self:
        """A try of it that begins now."""
        return replace(self, tried_at=moment)

    @property
    def sidecar(self) -> bytes:
        """The asset's public facts as JSON, for whoever finds the files; the same bytes each time."""
        facts: dict[str, Any] = self.asset.model_dump(mode="json", exclude_none=True)
        facts |= {"publication_id": str(self.publication_id), "target": self.target}
        return orjson.dumps(facts, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What stands at a target: `location` is the set's; each receipt a file's as it was read there.

    Of a target that only acknowledges, the one receipt is the message's; `stands` is where it says it put which file.
    """

    location: str
    receipts: Sequence[Receipt]
    verified: Verified = Verified.READ_BACK
    stands: Mapping[str, str] = field(default_factory=dict)


def delivery_of(asset: AssetApproved, *, target: str) -> Delivery:
    return Delivery(
        publication_id=ids.publication_id(asset.asset_version_id, target),
        target=target,
        asset=asset,
        tried_at=asset.occurred_at,
        traceparent=asset.traceparent,
    )


def refusal_of(asset: AssetApproved, *, target: TargetDocument) -> Refusal | None:
    """Why the asset may not go to the target. Fails closed: an unknown level lets nothing out and nothing in."""
    ceiling = target.ceiling
    if ceiling is Confidentiality.UNKNOWN or asset.confidentiality.rank > ceiling.rank:
        return Refusal(
            code="above_ceiling",
            detail=f"{asset.confidentiality} asset, and {target.name} takes at most {ceiling}",
            remedy=f"publish it by hand, or raise the ceiling of {target.name}",
        )
    if asset.source_type not in DRAWN_BY_A_MODEL and not target.demo:
        return Refusal(
            code="proof",
            detail=f"a proof ({asset.source_type}), and {target.name} is not marked demo",
            remedy="make the image with a model, or publish to a target marked demo",
        )
    unsigned = [file.name for file in asset.files if file.unsigned_sha256 is None]
    if unsigned and target.require_provenance:
        return Refusal(
            code="provenance",
            detail=f"{unsigned[0]} carries no Content Credentials, and {target.name} takes signed files only",
            remedy="give postprocess a signing key (docs/guides/provenance.md), then process the job again",
        )
    names = [file.name for file in asset.files]
    if len(set(names)) < len(names) or not names:
        return Refusal(
            code="file_names",
            detail="the asset has no files" if not names else "two files of the asset have the same name",
            remedy="process the job again",
        )
    return None


def difference(asset: AssetApproved, receipts: Iterable[Receipt]) -> Refusal | None:
    """What is wrong with what was read back; files that somebody added beside ours are theirs."""
    found = {receipt.name: receipt for receipt in receipts}
    for file in asset.files:
        receipt = found.get(file.name)
        if receipt is None:
            wrong = f"{file.name} is not there"
        elif (receipt.sha256, receipt.bytes) != (file.sha256, file.bytes):
            wrong = f"{file.name} has other bytes than were approved"
        else:
            continue
        return Refusal(
            code="not_as_delivered",
            detail=f"the target holds this publication, but {wrong}",
            remedy="find out who changed it; move it away at the target and retry",
        )
    return None


def distrust(file: PublicFile, found: Credentials, *, anchored: bool) -> Refusal | None:
    """Why a file that was signed is not let out, or is not as it was let out; `anchored`: somebody is trusted."""
    if found.state == "trusted" or (found.state == "valid" and not anchored):
        return None
    said = {"none": "they are gone", "valid": "their signer is nobody we trust", "invalid": "they do not hold"}
    why = f" ({'; '.join(found.problems)})" if found.problems else ""
    return Refusal(
        code="provenance",
        detail=f"{file.name} was signed with Content Credentials, and {said[found.state]}{why}",
        remedy="see that CALOTYPE_TRUST_ANCHORS names the signer's authority; otherwise process the job again",
    )


def published(delivery: Delivery, delivered: Delivered, *, now: datetime) -> AssetPublished:
    return AssetPublished.of(
        **_about(delivery),
        occurred_at=now,
        location=delivered.location,
        receipts=list(delivered.receipts),
        verified=delivered.verified,
        files=delivery.asset.files,
        delivered_at=now,
    )


def failed(delivery: Delivery, refusal: Refusal, *, now: datetime, uncertain: bool = False) -> PublicationFailed:
    return PublicationFailed.of(
        **_about(delivery),
        occurred_at=now,
        code=refusal.code,
        detail=refusal.detail,
        remedy=refusal.remedy,
        uncertain=uncertain,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Newer:
    """A version of the same asset that was approved later and stands at the same target."""

    asset_version_id: UUID
    approval: UUID

    @classmethod
    def of(cls, approval: str) -> Self:
        """Of an AssetApproved as it is kept."""
        told = orjson.loads(approval)
        return cls(asset_version_id=UUID(told["asset_version_id"]), approval=UUID(told["event_id"]))


def superseded(delivery: Delivery, newer: Newer, *, now: datetime) -> AssetSuperseded:
    about = _about(delivery) | {"cause_id": newer.approval}
    return AssetSuperseded.of(**about, occurred_at=now, superseded_by=newer.asset_version_id)


def _about(delivery: Delivery) -> dict[str, Any]:
    asset = delivery.asset
    return {
        "cause_id": delivery.cause,
        "workspace": asset.workspace,
        "client_reference": asset.client_reference,
        "traceparent": delivery.traceparent,
        "publication_id": delivery.publication_id,
        "request_id": asset.request_id,
        "job_id": asset.job_id,
        "asset_id": asset.asset_id,
        "asset_version_id": asset.asset_version_id,
        "target": delivery.target,
        "confidentiality": asset.confidentiality,
    }
