from typing import Any

import pytest

from services.postprocess.operations import Frame, Parameters, operations
from services.postprocess.operations.operation import Operation
from services.postprocess.orders import Derivative, Order
from services.postprocess.recipes import develop
from services.postprocess.sitting import BadRecipe
from shared.library.documents import Recipe
from shared.pictures import Refused
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.pictures import BLUE, RED, WHITE, grainy, near, plain, read, with_spot, written


def derivatives(original: bytes, *recipes: Recipe, **order: Any) -> list[Derivative]:
    by_channel = {each.channel: each for each in recipes}
    return develop(original, Order(recipes=by_channel, **order)).derivatives


def test_every_rendition_of_every_channel_is_made_in_order() -> None:
    web = recipe(rendition("small", 10, 10), rendition("large", 20, 20))
    email = recipe(rendition("hero", 30, 15), channel="email")
    made = derivatives(written(plain()), web, email)
    assert [(each.channel, each.rendition) for each in made] == [("web", "small"), ("web", "large"), ("email", "hero")]
    assert [read(each.data).size for each in made] == [(10, 10), (20, 20), (30, 15)]


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif"])
def test_a_rendition_is_written_in_its_format(format: str) -> None:
    made = derivatives(written(plain()), recipe(rendition(format=format)))
    assert made[0].facts.media_type == f"image/{format}"
    assert read(made[0].data).format == format.upper()


def test_without_operations_the_picture_is_cropped_to_what_matters_and_resized() -> None:
    original = written(with_spot(400, 100, x=0.9, y=0.5))
    made = derivatives(original, recipe(rendition("square", 50, 50)), focal=(0.9, 0.5))
    assert made[0].facts[1:] == (50, 50)
    assert made[0].exact
    assert near(read(made[0].data).getpixel((30, 25)), RED, within=40)


def test_the_live_area_is_kept_though_the_focal_point_lies_elsewhere() -> None:
    original = written(with_spot(400, 100, x=0.6, y=0.5))
    made = derivatives(original, recipe(rendition("square", 100, 100)), focal=(0.95, 0.5), live_area=(0.55, 0, 0.65, 1))
    image = read(made[0].data)
    assert any(near(image.getpixel((x, 50)), RED, within=40) for x in range(100))


def test_a_byte_budget_is_kept() -> None:
    made = derivatives(written(grainy()), recipe(rendition("hero", 256, 256, max_bytes=12_000, quality=90)))
    assert len(made[0].data) <= 12_000
    assert 40 <= made[0].manifest["quality"] < 90


def test_the_manifest_says_how_each_file_was_made() -> None:
    made = derivatives(written(plain()), recipe(rendition(operations=[step("pad", fill=0.5)], quality=77)))
    assert made[0].manifest == {
        "operations": [{"op": "pad", "params": {"fill": 0.5}}],
        "format": "jpeg",
        "quality": 77,
    }


def test_the_same_order_makes_the_same_bytes() -> None:
    everything = recipe(
        rendition("a", format="webp"), rendition("b", max_bytes=3000), rendition("c", operations=[step("pad")])
    )
    first, again = (derivatives(written(grainy()), everything, proxies=(64,)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("longest", "expected"),
    [(200, {320: 200}), (320, {320: 320}), (640, {320: 320, 1024: 640}), (3000, {320: 320, 1024: 1024, 2048: 2048})],
)
def test_review_proxies_are_never_larger_than_the_original(longest: int, expected: dict[int, int]) -> None:
    made = derivatives(written(plain(longest, longest // 2)), proxies=(320, 1024, 2048))
    assert {each.rendition: max(read(each.data).size) for each in made} == {
        f"proxy-{side}": pixels for side, pixels in expected.items()
    }
    assert all(each.channel is None for each in made)


def test_a_proxy_of_a_see_through_picture_stays_see_through() -> None:
    made = derivatives(written(plain(colour=(*BLUE, 0))), proxies=(320,))
    assert made[0].facts.media_type == "image/webp"
    assert read(made[0].data).getpixel((5, 5))[3] == 0  # type: ignore[index]


def test_an_unknown_operation_is_named_with_its_place() -> None:
    with pytest.raises(BadRecipe, match=r"web@1, main: there is no operation 'solarise'; there are badge, canvas"):
        derivatives(written(plain()), recipe(rendition(operations=[step("solarise")])))


def test_a_wrong_parameter_is_named_with_its_place() -> None:
    with pytest.raises(BadRecipe, match=r"web@1, main, pad: fill: "):
        derivatives(written(plain()), recipe(rendition(operations=[step("pad", fill=7)])))


@pytest.mark.parametrize("name", ["text", "logo", "badge", "watermark", "mark"])
def test_an_overlay_that_fails_by_a_bug_is_left_out_and_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> Frame:
        raise KeyError("no such key")

    monkeypatch.setitem(operations(), name, Operation(name, Parameters, fail))
    (made,) = derivatives(written(plain()), recipe(rendition(operations=[step("resize"), step(name)])))
    (verdict,) = made.verdicts
    assert (verdict.check, verdict.ok, verdict.blocking) == (name, False, True)
    assert "(KeyError)" in verdict.sentence
    assert f"web@1, main, {name}: left out" in (said := capfd.readouterr().err) and "no such key" in said


@pytest.mark.parametrize(("name", "error"), [("resize", KeyError("x")), ("text", MemoryError())])
def test_any_other_bug_and_the_end_of_memory_stay_loud(
    name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Frame:
        raise error

    monkeypatch.setitem(operations(), name, Operation(name, Parameters, fail))
    with pytest.raises(type(error)):
        derivatives(written(plain()), recipe(rendition(operations=[step(name)])))


def test_a_corrupt_original_makes_nothing() -> None:
    with pytest.raises(Refused):
        derivatives(written(plain())[:60], recipe(rendition()))


def test_what_is_found_by_looking_comes_with_the_files() -> None:
    blank = develop(written(plain(200, 200)), Order(recipes={}, checks=("label",), limits={"clipping": 0.5}))
    found = {verdict.check: verdict for verdict in blank.checks}
    assert (found["entropy"].ok, found["entropy"].code) == (False, "artefact")
    assert (found["label"].ok, found["clipping"].limit) == (True, 0.5)
    assert blank.measures.colours == [("#c81e1e", 1.0)]


def test_the_product_is_compared_with_its_approved_photo() -> None:
    shown = with_spot(300, 300, x=0.5, y=0.5, radius=60)
    photo = plain(200, 200, WHITE)
    photo.paste(RED, (40, 40, 160, 160))
    live = (0.3, 0.3, 0.7, 0.7)
    for colour, ok in ((RED, True), (BLUE, False)):
        photo.paste(colour, (40, 40, 160, 160))
        asked = Order(recipes={}, live_area=live, inputs=("photo",), checks=("fidelity",))
        (verdict,) = [
            each for each in develop(written(shown), asked, [written(photo)]).checks if each.check == "fidelity"
        ]
        assert verdict.ok is ok, verdict.sentence
