"""What to ask for, to have an asset once more: its request, for its one variant and seed, with every version pinned."""

from typing import Any
from uuid import UUID

from shared.events import RequestAccepted


def more_like(accepted: RequestAccepted, *, asset: UUID, variant: int, seed: int | None) -> dict[str, Any]:
    """An `ImageRequested` as JSON. Sent as it is, it asks for the same picture; `parent_asset_id` says of which one."""
    brief = accepted.brief
    asked: dict[str, Any] = {
        "asset_type": brief.asset_type,
        "template": accepted.template.label,
        "campaign": accepted.campaign.label if accepted.campaign else brief.campaign,
        "skus": brief.skus,
        "variables": accepted.variables,
        "channels": brief.channels,
        "variants": 1,
        "as_variant": accepted.as_variant or (variant if accepted.variants > 1 else None),
        "as_variants": accepted.as_variants or (accepted.variants if accepted.variants > 1 else None),
        "locale": brief.locale,
        "audience": accepted.audience,
        "intended_use": accepted.intended_use,
        "priority": accepted.priority,
        "confidentiality": accepted.confidentiality,
        "seed": seed,
        "sources": [{"source": str(use.source_id), "role": use.role} for use in accepted.sources],
        "strength": accepted.strength,
        "reproducible": accepted.reproducible,
        "parent_asset_id": str(asset),
    }
    return {name: value for name, value in asked.items() if value not in (None, [], {})}
