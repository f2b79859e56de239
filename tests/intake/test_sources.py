"""What requests may say of the pictures they start from."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.intake.batches import Sheet, judged
from services.intake.domain import Origin, accepted
from services.intake.files import Part
from services.intake.sources import Source, Sources
from shared.events import SourceRole, SourceUse
from shared.library.offers import Offers
from tests.intake.asks import faults, resolved
from tests.prompt.library import shelf

PHOTO, MASK, SMALL_MASK, UNKNOWN = (UUID(int=number) for number in range(1, 5))


def source(id: UUID, width: int = 640, height: int = 480) -> Source:
    return Source(source_id=id, sha256="5a" * 32, key=f"k/{id}", media_type="image/png", width=width, height=height)


KNOWN: Sources = {PHOTO: source(PHOTO), MASK: source(MASK), SMALL_MASK: source(SMALL_MASK, 64, 48)}


def naming(**roles: UUID) -> list[dict[str, Any]]:
    return [{"role": role, "source": str(source)} for role, source in roles.items()]


BOTH = naming(reference=PHOTO, mask=MASK)


def test_sources_and_strength_travel_with_everything_a_backend_needs() -> None:
    found = resolved(None, KNOWN, sources=BOTH, strength=0.4, reproducible="strict")
    origin = Origin(request_id=uuid4(), workspace=uuid4(), principal="shop", cause=uuid4(), kind="http")
    fact = accepted(found, origin, now=datetime(2030, 1, 1, tzinfo=UTC))
    use = {"sha256": "5a" * 32, "media_type": "image/png", "width": 640, "height": 480}
    assert fact.sources == [
        SourceUse(role=SourceRole.REFERENCE, source_id=PHOTO, key=f"k/{PHOTO}", **use),
        SourceUse(role=SourceRole.MASK, source_id=MASK, key=f"k/{MASK}", **use),
    ]
    assert fact.strength == 0.4
    assert fact.reproducible == "strict"


def test_a_parent_travels_with_the_brief_and_only_a_single_job_is_another_s_variant() -> None:
    found = resolved(None, KNOWN, {PHOTO}, parent_asset_id=str(PHOTO), as_variant=3)
    origin = Origin(request_id=uuid4(), workspace=uuid4(), principal="shop", cause=uuid4(), kind="http")
    fact = accepted(found, origin, now=datetime(2030, 1, 1, tzinfo=UTC))
    assert (fact.brief.parent_asset_id, fact.as_variant, fact.brief.variant) == (PHOTO, 3, 1)
    assert faults(variants=2, as_variant=3) == [("locked", "as_variant")]


def test_a_child_of_nothing_is_refused_with_whatever_else_is_wrong() -> None:
    assert faults(None, KNOWN, parent_asset_id=str(MASK)) == [("missing_parent", "parent_asset_id")]
    assert faults(channels=["fax"], parent_asset_id=str(MASK))[-1] == ("missing_parent", "parent_asset_id")


def test_a_source_without_a_role_is_the_reference() -> None:
    (use,) = resolved(None, KNOWN, sources=[{"source": str(PHOTO)}]).sources
    assert use.role is SourceRole.REFERENCE


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"sources": naming(reference=UNKNOWN)}, ("missing_source", "sources[0].source")),
        ({"sources": naming(reference=PHOTO, mask=UNKNOWN)}, ("missing_source", "sources[1].source")),
        ({"sources": naming(mask=MASK)}, ("without_reference", "sources[0]")),
        ({"sources": naming(mask=SMALL_MASK, reference=PHOTO)}, ("wrong_size", "sources[0]")),
        ({"sources": naming(reference=PHOTO) + naming(reference=MASK)}, ("doubled", "sources[1].role")),
        ({"sources": BOTH + naming(mask=MASK)}, ("too_many", "sources")),
        ({"sources": naming(style=PHOTO)}, ("unknown_value", "sources[0].role")),
        ({"sources": [{"source": "photo.jpg"}]}, ("malformed", "sources[0].source")),
        ({"sources": [{"source": str(PHOTO), "weight": 1}]}, ("unknown_field", "sources[0].weight")),
        ({"sources": [str(PHOTO)]}, ("wrong_type", "sources[0]")),
        ({"strength": 0.5}, ("without_reference", "strength")),
        ({"sources": BOTH, "strength": 0}, ("out_of_range", "strength")),
        ({"sources": BOTH, "strength": 1.1}, ("out_of_range", "strength")),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_with_its_place(
    changes: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert faults(None, KNOWN, **changes) == [fault]


@pytest.mark.parametrize("cell", [f"{PHOTO}|mask:{MASK}", f"Mask: {MASK} | reference:{PHOTO}"])
def test_a_row_names_its_sources_in_one_cell(cell: str) -> None:
    titles = ["key", "campaign", "asset_type", "sku", "setting", "headline", "sources", "strength"]
    line = f"a,winter,tile,OIL-100,linen,Slow down,{cell},0.4\n"
    (row,) = Sheet(format="csv", titles=titles).rows(Part(line.encode(), 2), first=False)
    found = judged(row, Offers(shelf()), KNOWN).resolved
    assert found is not None, row
    assert {use.role: use.source_id for use in found.sources} == {SourceRole.REFERENCE: PHOTO, SourceRole.MASK: MASK}
    assert found.asked.strength == 0.4
