"""A request that is only asked about gets the route that it would get if it were sent."""

from typing import Any
from uuid import UUID

import pytest

from services.inference import domain
from services.inference.asking import ask_of, resolved
from shared.events import Confidentiality
from shared.http import HttpProblem
from shared.library.documents import Brand
from shared.library.offers import Offers
from tests.inference.prompts import NOW, PHOTO
from tests.inference.test_proof_campaign import prompts, rows, shelf

OFFERS = Offers(shelf())
TILE: dict[str, Any] = {
    "campaign": "salt-and-brine",
    "asset_type": "tile",
    "skus": ["SL-CND-220"],
    "variables": {"setting": "fog-window"},
}


def test_every_row_of_the_demo_is_asked_as_it_is_routed() -> None:
    sent = {prompt.request_id: prompt for prompt in prompts()}
    looked = 0
    for number, row in enumerate(rows()):
        if row.resolved is None:
            continue
        (prompt, *_) = [prompt for request, prompt in sent.items() if request.int == number]
        alone, among = (
            prompt.model_copy(update={"brief": prompt.brief.model_copy(update={"batch_id": batch})})
            for batch in (None, UUID(int=9))
        )
        body = row.resolved.asked.model_dump(mode="json", exclude_defaults=True)
        assert ask_of(resolved(body, OFFERS, now=NOW)) == domain.ask_of(alone)
        assert ask_of(resolved(body, OFFERS, now=NOW), bulk=True) == domain.ask_of(among)
        looked += 1
    assert looked > 5


def test_a_product_that_is_not_out_makes_the_question_confidential() -> None:
    brand = shelf().find(Brand, "salt-linden")
    assert brand is not None
    hidden = next(line for line in brand.products if line.confidentiality is not Confidentiality.PUBLIC)
    asked = resolved(TILE | {"skus": [hidden.sku]}, OFFERS, now=NOW)
    assert ask_of(asked).confidentiality is hidden.confidentiality


def test_a_request_that_starts_from_a_picture_asks_for_backends_that_take_one() -> None:
    sources = [{"source": str(PHOTO.source_id), "role": role} for role in ("reference", "mask")]
    asked = resolved(TILE | {"sources": sources}, OFFERS, now=NOW)
    assert ask_of(asked).capabilities == {"image-to-image", "inpainting"}


def test_a_request_for_the_same_bytes_asks_for_backends_that_can_promise_them() -> None:
    assert ask_of(resolved(TILE | {"reproducible": "strict"}, OFFERS, now=NOW)).strict
    assert not ask_of(resolved(TILE, OFFERS, now=NOW)).strict


@pytest.mark.parametrize(
    ("changed", "code", "where"),
    [
        ({"campaign": "salt-and-brin"}, "unknown_campaign", "campaign"),
        ({"asset_type": "billboard"}, "unknown_asset_type", "asset_type"),
        ({"skus": ["SL-NONE"]}, "unknown_sku", "skus[0]"),
        ({"widht": 64}, "unknown_field", "widht"),
        ({"priority": "urgent"}, "unknown_value", "priority"),
        ({"deadline": "2026-11-22T09:29:59Z"}, "out_of_range", "deadline"),
        ({"sources": [{"source": str(PHOTO.source_id), "role": "mask"}]}, "without_reference", "sources[0]"),
    ],
)
def test_what_acceptance_would_refuse_is_refused_in_its_words(changed: dict[str, Any], code: str, where: str) -> None:
    with pytest.raises(HttpProblem) as caught:
        resolved(TILE | changed, OFFERS, now=NOW)
    assert (caught.value.code, caught.value.where, caught.value.status) == (code, where, 422)
    assert caught.value.remedy
