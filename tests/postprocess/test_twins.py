"""When a picture counts as another's twin, and what it has to share with it to be compared at all."""

from uuid import UUID, uuid4

import pytest

from services.postprocess.twins import BANDS, LIMIT, bands, unseen, verdict_on, wants_twins
from shared.library.documents import Rubric

HOUSE, OTHER = UUID(int=1), UUID(int=2)
PRINT = "0123456789abcdef" * 7


def changed(*places: int) -> str:
    """The fingerprint with a bit turned at each of these digits."""
    digits = list(PRINT)
    for place in places:
        digits[place] = f"{int(digits[place], 16) ^ 1:x}"
    return "".join(digits)


def test_the_same_picture_shares_every_band_and_another_house_none() -> None:
    assert len(set(bands(HOUSE, PRINT))) == BANDS
    assert not set(bands(HOUSE, PRINT)) & set(bands(OTHER, PRINT))


def test_a_bit_in_all_bands_but_one_still_leaves_one_to_meet_in() -> None:
    nearly = changed(*range(0, 33, 3))
    assert len(set(bands(HOUSE, PRINT)) & set(bands(HOUSE, nearly))) == 1


def test_bands_stand_in_their_place() -> None:
    assert not set(bands(HOUSE, "0" * 112)) & set(bands(HOUSE, "f" * 112))
    assert len(set(bands(HOUSE, "0" * 112))) == BANDS, "the same digits elsewhere are another band"


def test_prints_by_two_rules_never_meet_and_those_that_are_kept_meet_as_before() -> None:
    assert not set(bands(HOUSE, PRINT)) & set(bands(HOUSE, PRINT + "02"))
    assert bands(HOUSE, PRINT)[0] == 3426530583722044636, "as it stands in likenesses"
    assert verdict_on(PRINT + "02", [(uuid4(), PRINT)], limit=LIMIT).ok


def test_a_picture_that_came_before_is_named() -> None:
    first, second = uuid4(), uuid4()
    verdict = verdict_on(PRINT, [(first, changed(60)), (second, PRINT)], limit=LIMIT)
    assert (verdict.ok, verdict.code) == (False, "other")
    assert str(first) in verdict.sentence, "the first that was seen, not the likest"
    assert verdict.number is not None and verdict.number >= LIMIT


def test_what_is_only_a_little_alike_is_no_twin() -> None:
    other = "f" * 64 + PRINT[64:]
    verdict = verdict_on(PRINT, [(uuid4(), other)], limit=LIMIT)
    assert verdict.ok and verdict.number is not None and verdict.number < LIMIT
    assert verdict_on(PRINT, [], limit=LIMIT).number == 0


def test_a_rubric_may_ask_for_more_or_less_likeness() -> None:
    near = [(uuid4(), changed(1, 40))]
    assert not verdict_on(PRINT, near, limit=0.5).ok
    assert verdict_on(PRINT, near, limit=0.999).ok


@pytest.mark.parametrize(("named", "asked"), [("blocking_checks", True), ("rejecting_checks", True), ("limits", False)])
def test_only_a_rubric_that_stops_at_twins_costs_a_query(named: str, asked: bool) -> None:  # noqa: FBT001
    fields: dict[str, object] = {named: {"twin": 0.5} if named == "limits" else ["twin"]}
    rubric = Rubric.model_validate({"name": "tile", "version": 1, "owner": "design", **fields})
    assert wants_twins(rubric) is asked


def test_what_has_no_fingerprint_goes_to_a_person() -> None:
    assert (unseen().ok, unseen().blocking) == (False, True)
