"""What a check rejects without a person. Pure: the same ImageProcessed is always rejected in the same words.

The rejection is a fact of its own, caused by the picture's, so the decision that people see follows from the ledger.
"""

from typing import Any

from services.catalog.domain import Body
from shared import ids
from shared.contracts.rejection_codes import REJECTION_CODES
from shared.events import Approver, AssetRejected
from shared.identity import CHECK

REVIEW = 0
"""Nobody has looked before: a person who overrules it builds on this review."""


def rejecting(asset: Body) -> Body | None:
    """The first verdict of an ImageProcessed that rejects it."""
    found = (check for check in asset.get("checks", ()) if check.get("rejecting"))
    return next((check for check in found if not check["ok"] and not check.get("advisory")), None)


def rejected(asset: Body, *, at: Any, trace: str | None) -> AssetRejected:
    """The fact that a check rejects this asset; `at` is when it was processed."""
    verdict = rejecting(asset)
    if verdict is None:
        raise ValueError(f"no check rejects {asset['asset_version_id']}")
    code = verdict.get("code")
    return AssetRejected.of(
        cause_id=asset["event_id"],
        occurred_at=at,
        workspace=asset["workspace"],
        client_reference=asset.get("client_reference"),
        traceparent=trace,
        request_id=asset["request_id"],
        job_id=asset["job_id"],
        run=asset.get("run", 1),
        asset_id=asset["asset_id"],
        asset_version_id=asset["asset_version_id"],
        confidentiality=asset["confidentiality"],
        code=code if code in REJECTION_CODES else "other",
        reason=verdict["sentence"],
        by=Approver(principal=f"{CHECK}{verdict['check']}", at=at),
        rubric=asset["rubric"],
        supersedes=asset.get("supersedes"),
    )


def is_check(principal: str | None) -> bool:
    return (principal or "").startswith(CHECK)


def named(principal: str) -> str:
    """Who decided, in words: a person by name, a check as one."""
    return f"the {principal.removeprefix(CHECK).replace('_', ' ')} check" if is_check(principal) else principal


def decision_of(rejected: Body) -> tuple[Any, ...] | None:
    """The row of `decisions` that follows from an AssetRejected; None of a person's, who has one already."""
    by = rejected["by"]
    if not is_check(by["principal"]):
        return None
    return (
        # As `rules.decision_id` of the first review.
        ids.derive("decision", rejected["asset_version_id"], REVIEW),
        rejected["workspace"],
        rejected["asset_id"],
        rejected["asset_version_id"],
        rejected["request_id"],
        rejected["job_id"],
        rejected.get("run", 1),
        REVIEW,
        rejected["code"],
        rejected.get("reason"),
        by["principal"],
    )
