"""What is unlike the rest of its set, and that a set of like pictures has nothing that is."""

import random
from uuid import UUID

import pytest

from services.catalog.review.outliers import APART, LEAST, Measured, compared, lab, palette_distance
from services.catalog.views.review import by_outliers

BONE, CLAY, BRINE = "#f2ece0", "#c4704a", "#2e4b52"
ODD = UUID(int=999)


def picture(
    asset: UUID, *, exposure: float = 0.52, scale: float = 0.3, x: float = 0.5, colours: tuple[str, str] = (BONE, CLAY)
) -> Measured:
    shares = zip(colours, (0.7, 0.3), strict=True)
    palette = [(lab(colour), share) for colour, share in shares]
    return Measured(asset_id=asset, exposure=exposure, palette=palette, scale=scale, centre=(x, 0.55))


def alike(count: int) -> list[Measured]:
    chance = random.Random(count)
    return [
        picture(
            UUID(int=number + 1),
            exposure=0.52 + chance.uniform(-0.03, 0.03),
            scale=0.3 + chance.uniform(-0.03, 0.03),
            x=0.5 + chance.uniform(-0.02, 0.02),
        )
        for number in range(count)
    ]


def test_pictures_that_are_alike_have_none_apart() -> None:
    assert compared(alike(60)).outliers() == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exposure": 0.2}, "darker than the rest of the set: 0.20, median 0.5"),
        ({"exposure": 0.9}, "brighter than the rest of the set: 0.90, median 0.5"),
        ({"colours": (BRINE, CLAY)}, "other colours than the rest of the set: ΔE "),
        ({"scale": 0.08}, "its product is smaller than in the rest of the set: 8% of the picture, median "),
        ({"x": 0.2}, "its product stands elsewhere than in the rest of the set: 30% off its place, median "),
    ],
)
def test_each_measure_finds_its_own(changes: dict[str, object], why: str) -> None:
    found = compared([*alike(40), picture(ODD, **changes)])  # type: ignore[arg-type]
    assert found.outliers() == [ODD]
    assert [said for said in found.why(ODD) if said.startswith(why)] == [found.why(ODD)[0]]
    assert found.score(ODD) >= APART


def test_outliers_do_not_hide_each_other() -> None:
    odd = [UUID(int=900 + number) for number in range(5)]
    found = compared([*alike(20), *(picture(each, exposure=0.1) for each in odd)])
    assert set(found.outliers()) == set(odd)


def test_where_all_are_the_same_a_trifle_is_not_apart() -> None:
    same = [picture(UUID(int=number + 1)) for number in range(30)]
    assert compared([*same, picture(ODD, exposure=0.55)]).outliers() == []


def test_of_a_few_pictures_nothing_is_said() -> None:
    assert compared([*alike(LEAST - 2), picture(ODD, exposure=0.0)]).axes == ()


def test_a_picture_whose_product_nobody_knows_is_compared_by_the_rest() -> None:
    odd = Measured(asset_id=ODD, exposure=0.1, palette=picture(ODD).palette)
    found = compared([*alike(20), odd])
    assert found.why(ODD) == (found.why(ODD)[0],) and "darker" in found.why(ODD)[0]


def test_the_worst_is_said_first() -> None:
    found = compared([*alike(40), picture(ODD, exposure=0.35, scale=0.01)])
    assert [said.split()[0] for said in found.why(ODD)] == ["its", "darker"]


def test_lab_of_white_grey_and_a_colour() -> None:
    assert lab("#ffffff") == pytest.approx((100, 0, 0), abs=0.02)
    assert lab("#777777") == pytest.approx((50.03, 0, 0), abs=0.02)
    assert lab("#ff0000") == pytest.approx((53.24, 80.09, 67.20), abs=0.02)


def test_a_palette_is_no_distance_from_itself_in_any_order() -> None:
    one = [(lab(BONE), 0.7), (lab(CLAY), 0.3)]
    assert palette_distance(one, one[::-1]) == 0
    assert palette_distance(one, [(lab(BRINE), 1.0)]) == palette_distance([(lab(BRINE), 1.0)], one) > 30


def test_the_queue_begins_with_the_request_of_the_farthest_open_picture() -> None:
    first, second, third = (UUID(int=number) for number in (1, 2, 3))
    rows = [
        {"asset_id": UUID(int=11), "request_id": first, "open": True},
        {"asset_id": UUID(int=12), "request_id": first, "open": True},
        {"asset_id": UUID(int=21), "request_id": second, "open": True},
        {"asset_id": UUID(int=22), "request_id": second, "open": True},
        {"asset_id": UUID(int=31), "request_id": third, "open": False},
    ]
    ordered = by_outliers(rows, {UUID(int=22): 5.0, UUID(int=31): 9.0})
    assert [row["asset_id"].int for row in ordered] == [21, 22, 11, 12, 31]
