"""`GET /v1/assets/statistics`: a campaign's pictures compared with each other, and which of them are apart."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from services.catalog.review.outliers import APART, Set
from services.catalog.routes.frame import Reading, Words, answer
from services.catalog.views.sets import sets_of_campaign
from shared.identity import Caller, May

TOLD = 100  # outliers of a set


def routes(reading: Reading) -> APIRouter:
    router = APIRouter(tags=["assets"])
    may_read = Depends(reading.gate.needs(May.READ))

    @router.get("/v1/assets/statistics")
    async def statistics(campaign: Annotated[Words, Query()], caller: Caller = may_read) -> Response:
        """Per asset type: medians, robust deviations, and the pictures that are apart with a sentence why."""
        async with reading.of(caller) as connection:
            sets = await sets_of_campaign(connection, campaign)
        told = [{"asset_type": asset_type, **_told(found)} for (_, asset_type), found in sets.items()]
        return answer({"campaign": campaign, "apart_from": APART, "sets": told})

    return router


def _told(found: Set) -> dict[str, Any]:
    return {
        "assets": found.count,
        "measures": {
            axis.name: {
                "assets": len(axis.numbers),
                "median": round(axis.median, 4),
                "deviation": round(max(axis.deviation, axis.least), 4),
            }
            for axis in found.axes
        },
        "outliers": [
            {"asset_id": asset, "score": round(found.score(asset), 2), "why": found.why(asset)}
            for asset in found.outliers()[:TOLD]
        ],
    }
