"""What becomes of a valid ask: the ids that follow from where it came from, and the fact. No I/O, no clock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared import ids
from shared.events import Brief, Reproducible, RequestAccepted
from shared.library.asks import Resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an ask came from, and the ids that follow from it."""

    request_id: UUID
    workspace: UUID
    principal: str
    cause: UUID | str
    kind: str
    id: str | None = None
    batch_id: UUID | None = None
    row_key: str | None = None
    supersedes: UUID | None = None
    traceparent: str | None = None
    client_reference: str | None = None


def accepted(resolved: Resolved, origin: Origin, *, now: datetime) -> RequestAccepted:
    """The fact, with everything pinned."""
    asked, offer = resolved.asked, resolved.offer
    headline = resolved.variables.get("headline")
    brief = Brief(
        campaign=offer.campaign.name,
        asset_type=offer.asset_type,
        template=offer.template.label,
        brand=offer.brand.title,
        skus=[product.sku for product in resolved.products],
        product=", ".join(product.name for product in resolved.products) or None,
        locale=asked.locale,
        headline=str(headline) if headline else None,
        channels=resolved.channels,
        licence=offer.brand.licence,
        batch_id=origin.batch_id,
        row_key=origin.row_key,
        variants=asked.variants,
        parent_asset_id=asked.parent_asset_id,
    )
    return RequestAccepted.of(
        cause_id=origin.cause,
        occurred_at=now,
        workspace=origin.workspace,
        client_reference=asked.client_reference,
        traceparent=origin.traceparent,
        request_id=origin.request_id,
        principal=origin.principal,
        brief=brief,
        **offer.pins,
        recipes={channel: offer.recipe_pins[channel] for channel in resolved.channels},
        products=[offer.products[product.sku] for product in resolved.products],
        variables=resolved.variables,
        variants=asked.variants,
        audience=asked.audience,
        intended_use=asked.intended_use,
        priority=asked.priority,
        confidentiality=resolved.confidentiality,
        deadline=asked.deadline,
        seed=asked.seed,
        sources=list(resolved.sources),
        strength=asked.strength,
        reproducible=Reproducible(asked.reproducible),
        supersedes=origin.supersedes,
        as_variant=asked.as_variant,
        as_variants=asked.as_variants,
    )


def answer(event: RequestAccepted) -> dict[str, Any]:
    """What is kept of a request to answer its sender with, now and whenever it asks again."""
    return {
        "campaign": event.campaign.label if event.campaign else None,
        "asset_type": event.brief.asset_type,
        "template": event.template.label,
        "channels": event.brief.channels,
        "variants": event.variants,
        "priority": event.priority,
        "confidentiality": event.confidentiality,
        "supersedes": event.supersedes,
        "client_reference": event.client_reference,
    }


def jobs_of(request_id: UUID, variants: int) -> list[UUID]:
    return [ids.job_id(request_id, variant) for variant in range(1, variants + 1)]
