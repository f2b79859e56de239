from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

import deploy
from services.postprocess.children import Children
from services.postprocess.operations import Equipment, Frame, Materials, operations
from services.postprocess.operations.layout import Area, inset, placed, safe_area
from services.postprocess.operations.watermark import MOST, _grid
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels, pixels_of
from services.postprocess.settings import PostprocessSettings
from shared.library.documents import Operation as Step
from shared.library.documents import Rendition
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.pictures import BLUE, GREEN, RED, WHITE, plain, written
from tests.postprocess.typefaces import house_font

NIGHT, PAPER = (20, 30, 40), (240, 236, 228)
PALETTE = {"bone": "#F2ECE0", "ink": "#24201D", "clay": "#C4704A"}
HEADLINE = "Evenings that smell of salt"


def frame(
    ground: Pixels | tuple[int, ...] = PAPER,
    *,
    size: tuple[int, int] = (600, 300),
    locale: str = "en",
    texts: Mapping[str, str] | None = None,
    marks: Mapping[str, tuple[int, ...]] | None = None,
    safe: tuple[float, float, float, float] | None = None,
    fonts: str | None = None,
    live: tuple[float, float, float, float] | None = None,
) -> Frame:
    pixels = pixels_of(plain(*size, ground)) if isinstance(ground, tuple) else ground
    made = {name: Picture(pixels_of(plain(60, 20, colour))) for name, colour in (marks or {}).items()}
    materials = Materials(
        texts={"headline": HEADLINE} if texts is None else texts,
        locale=locale,
        palette=PALETTE,
        marks=made,
        equipment=Equipment(fonts=fonts),
    )
    return Frame.of(Picture(pixels), wanted=size, safe=safe, live=live, materials=materials)


def laid(before: Frame, name: str, **params: Any) -> Frame:
    return operations()[name].apply(before, params)


def touched(before: Frame, after: Frame) -> Area:
    """The box of every pixel that is not as it was."""
    other = (before.pixels() != after.pixels()).any(axis=2)
    rows, columns = np.flatnonzero(other.any(axis=1)), np.flatnonzero(other.any(axis=0))
    return Area(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def split(left: tuple[int, ...], right: tuple[int, ...]) -> Pixels:
    pixels = pixels_of(plain(600, 300, left))
    pixels[:, 300:] = right
    return pixels


# Text


def test_the_headline_of_the_request_is_written_and_a_reviewer_told() -> None:
    before = frame()
    after = laid(before, "text")
    (verdict,) = after.verdicts
    assert verdict.ok and verdict.check == "text" and not verdict.blocking
    assert verdict.sentence == "The headline stands in 2 lines of 30 px, contrast 13.7."
    assert verdict.number == pytest.approx(13.7, abs=0.06) and verdict.limit == 4.5
    assert after.size == before.size


def test_where_there_is_no_headline_the_product_is_named_if_the_recipe_says_so() -> None:
    before = frame(texts={"product": "Body Oil"})
    assert laid(before, "text").verdicts == ()
    (verdict,) = laid(before, "text", otherwise="product").verdicts
    assert verdict.sentence.startswith("The product stands in 1 line")


@pytest.mark.parametrize("texts", [{}, {"headline": ""}, {"headline": " \n "}])
def test_without_words_nothing_is_drawn_and_nothing_is_at_fault(texts: dict[str, str]) -> None:
    before = frame(texts=texts)
    assert laid(before, "text") is before


@pytest.mark.parametrize(("locale", "drawn"), [("en-GB", True), ("en", True), ("fr", True), ("de", False)])
def test_a_recipe_may_bring_its_own_words_by_locale(locale: str, drawn: bool) -> None:  # noqa: FBT001
    words = {"en-GB": "Colour", "en": "Color", "default": "Couleur"} | ({} if drawn else {"de": ""})
    before = frame(locale=locale)
    assert (laid(before, "text", text=words).picture is not before.picture) == drawn


def test_the_manifest_says_which_font_file_which_size_and_which_colour() -> None:
    ((name, how),) = laid(frame(), "text").notes
    assert name == "text" and how.startswith("Instrument Sans 500 (") and how.endswith("; 30 px; #24201D")
    assert len(how.split("(")[1].split(")")[0]) == 64


@pytest.mark.parametrize(
    ("safe", "margin"), [(None, 0.06), (None, 0.0), ((0.1, 0.2, 0.6, 0.9), 0.0), ((0.0, 0.14, 1.0, 0.8), 0.1)]
)
@pytest.mark.parametrize("anchor", ["top-start", "bottom-end", "centre"])
@pytest.mark.parametrize(("locale", "text"), [("en", HEADLINE), ("ar", "دفء الشتاء في زجاجة"), ("ja", "冬の一杯に。")])
def test_all_ink_stays_inside_the_safe_area(
    safe: tuple[float, float, float, float] | None, margin: float, anchor: str, locale: str, text: str
) -> None:
    before = frame(safe=safe, locale=locale, texts={"headline": text})
    after = laid(before, "text", margin=margin, anchor=anchor, height=1, width=1, largest=0.5)
    assert inset(safe_area(before), margin).holds(touched(before, after))
    assert after.verdicts[0].ok


def test_a_text_begins_where_its_readers_begin() -> None:
    left, right = (
        touched(before := frame(locale=locale, texts={"headline": text}), laid(before, "text"))
        for locale, text in (("en", "Salt"), ("ar", "ملح"))
    )
    assert left.left < 30 and right.right > 570


def test_an_arabic_text_that_begins_with_a_latin_name_still_begins_on_the_right() -> None:
    before = frame(locale="ar", texts={"headline": "Linden ملح"})
    assert touched(before, laid(before, "text", width=1)).right > 570


@pytest.mark.parametrize(
    ("texts", "params", "says"),
    [
        ({"headline": "Salt 花"}, {}, "cannot write 花 (U+82B1)"),
        ({"headline": "Salt"}, {"weight": 300}, "Instrument Sans is not here in weight 300"),
        ({"headline": "Salt"}, {"fonts": {"default": ["House Sans"]}}, "there is no font 'House Sans'"),
        ({"headline": "Extraordinarily"}, {"width": 0.05}, "at the least size, 14 px, is wider than its box"),
        ({"headline": "Salt"}, {"colour": "brine"}, "the brand's palette has no brine, it has bone, ink, clay"),
    ],
)
def test_what_cannot_be_written_as_asked_is_left_out_and_a_person_is_told_why(
    texts: dict[str, str], params: dict[str, Any], says: str
) -> None:
    before = frame(texts=texts)
    after = laid(before, "text", **params)
    (verdict,) = after.verdicts
    assert after.pixels().tobytes() == before.pixels().tobytes()
    assert (verdict.check, verdict.ok, verdict.blocking) == ("text", False, True)
    assert verdict.sentence.startswith("The headline is left out: ") and says in verdict.sentence


def test_a_folder_of_fonts_that_cannot_be_read_is_said_and_no_failure() -> None:
    (verdict,) = laid(frame(fonts="/nowhere"), "text").verdicts
    assert "the folder of fonts cannot be read" in verdict.sentence


@pytest.mark.parametrize(("ground", "colour"), [(PAPER, "#24201D"), (NIGHT, "#F2ECE0")])
def test_the_colour_is_the_one_of_the_palette_that_stands_out(ground: tuple[int, ...], colour: str) -> None:
    after = laid(frame(ground), "text")
    assert after.notes[0][1].endswith(colour)
    assert after.verdicts[0].ok


def test_contrast_is_that_of_the_worst_place_and_not_the_mean() -> None:
    """Half of the letters stand on paper, half on night: no one colour is seen on both."""
    (verdict,) = laid(frame(split(PAPER, NIGHT)), "text", anchor="centre", align="centre", lines=1, width=1).verdicts
    assert not verdict.ok and verdict.number is not None and verdict.number < 4
    assert "where 4.5 is asked for: take another place or colour, or a scrim" in verdict.sentence


def test_a_scrim_is_laid_only_where_it_is_needed_and_gives_the_contrast() -> None:
    busy = np.random.default_rng(7).integers(60, 200, size=(300, 600, 3), dtype=np.uint8)
    shaded, bare = (laid(frame(busy), "text", scrim=scrim).verdicts[0] for scrim in ("needed", "none"))
    assert shaded.ok and not bare.ok
    needless, plain_ = (laid(frame(), "text", scrim=scrim).pixels() for scrim in ("needed", "none"))
    assert needless.tobytes() == plain_.tobytes()


def test_the_product_is_left_free() -> None:
    """Its box reaches into the text's from below; the text goes above, smaller."""
    before = frame(live=(0.1, 0.3, 0.9, 1.0))
    params = {"width": 1, "height": 1, "largest": 0.3}
    free, over = (laid(before, "text", **params, over_product=over) for over in (False, True))
    assert touched(before, free).bottom <= 90 - 6 and free.verdicts[0].ok
    assert touched(before, over).bottom > 90 and over.verdicts[0].ok


def test_a_text_that_has_to_lie_over_the_product_is_a_failed_verdict() -> None:
    (verdict,) = laid(frame(live=(0.0, 0.05, 1.0, 0.95)), "text").verdicts
    assert not verdict.ok and verdict.code == "bad_crop" and "lies over the product" in verdict.sentence


def test_words_on_a_see_through_picture_are_not_see_through() -> None:
    after = laid(frame((*PAPER, 0)), "text")
    assert after.pixels().shape[2] == 4 and after.pixels()[..., 3].max() == 255


# Logo, badge, watermark


def test_the_logo_stands_at_its_place_in_its_colours() -> None:
    before = frame(marks={"logo": RED})
    after = laid(before, "logo")
    place = touched(before, after)
    assert (place.width, place.height) == (60, 20)
    assert (place.right, place.top) == (582, 18)
    assert tuple(after.pixels()[28, 560]) == RED
    assert after.verdicts[0].ok and after.verdicts[0].check == "logo"


def test_a_logo_is_never_enlarged_and_shrinks_into_its_room() -> None:
    before = frame(marks={"logo": RED})
    place = touched(before, laid(before, "logo", width=0.05))
    assert (place.width, place.height) == (28, 9)


def test_of_two_logos_the_one_that_is_seen_is_taken() -> None:
    for ground, seen in ((NIGHT, WHITE), (PAPER, NIGHT)):
        before = frame(ground, marks={"logo": NIGHT, "light": WHITE})
        after = laid(before, "logo", on_dark="light")
        assert tuple(after.pixels()[28, 560]) == seen


def test_a_logo_that_cannot_be_made_out_is_a_failed_verdict() -> None:
    (verdict,) = laid(frame(marks={"logo": PAPER}), "logo").verdicts
    assert not verdict.ok and "cannot be made out" in verdict.sentence


@pytest.mark.parametrize(
    ("name", "params"), [("logo", {}), ("badge", {"mark": "vegan"}), ("watermark", {"mark": "vegan"})]
)
def test_a_mark_the_brand_does_not_have_is_told_by_name(name: str, params: dict[str, Any]) -> None:
    before = frame()
    after = laid(before, name, **params)
    (verdict,) = after.verdicts
    assert (verdict.check, verdict.ok, verdict.blocking) == (name, False, True)
    assert f"the brand has no mark {params.get('mark', 'logo')}" in verdict.sentence
    assert after.pixels().tobytes() == before.pixels().tobytes()


@pytest.mark.parametrize("name", ["text", "badge", "watermark"])
@pytest.mark.parametrize("words", ["\u200b", "\u00ad", "\u2060 \u200b", "\u00ad\n\u00ad"])
def test_words_that_nobody_would_see_are_left_out_and_told(name: str, words: str) -> None:
    before = frame()
    after = laid(before, name, text={"default": words})
    (verdict,) = after.verdicts
    assert (verdict.check, verdict.ok, verdict.blocking) == ("text", False, True)
    assert "its characters are invisible" in verdict.sentence
    assert after.pixels().tobytes() == before.pixels().tobytes()


def test_invisible_characters_before_words_do_not_keep_them_out() -> None:
    (verdict,) = laid(frame(texts={"headline": "\u2060Salt\u200b"}), "text").verdicts
    assert verdict.ok


@pytest.mark.parametrize("name", ["badge", "watermark"])
def test_an_overlay_with_nothing_to_show_draws_nothing(name: str) -> None:
    before = frame()
    assert laid(before, name) is before
    assert laid(before, name, text={"de": "Neu"}) is before


@pytest.mark.parametrize("word", ["NEW", "gypsy", "−20 %"])
def test_a_badges_letters_stand_in_the_middle_of_its_pill(word: str) -> None:
    """Tails hang below the middle: what counts is from the baseline up."""
    before = frame()
    after = laid(before, "badge", text={"default": word}, fill="clay", height=0.3)
    pill, ink = touched(before, after), _letters(after.pixels(), (196, 112, 74))
    assert abs((ink.left - pill.left) - (pill.right - ink.right)) <= 2
    if word != "gypsy":
        assert abs((ink.top - pill.top) - (pill.bottom - ink.bottom)) <= 3


def _letters(pixels: Pixels, fill: tuple[int, ...]) -> Area:
    dark = (pixels.astype(int).sum(axis=2)) < sum(fill) - 150
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    return Area(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def test_a_badge_is_a_pill_inside_the_safe_area() -> None:
    safe = (0.1, 0.1, 0.9, 0.9)
    before = frame(safe=safe)
    after = laid(before, "badge", text={"default": "New"}, fill="#204060", margin=0)
    pill = touched(before, after)
    assert safe_area(before).holds(pill) and (pill.left, pill.top) == (60, 30)
    corner, middle = after.pixels()[pill.top, pill.left], after.pixels()[(pill.top + pill.bottom) // 2, pill.left + 4]
    assert tuple(corner) == PAPER and tuple(middle) == (32, 64, 96)


def test_a_badge_that_is_too_long_for_its_width_is_left_out() -> None:
    (verdict,) = laid(frame(), "badge", text={"default": "A very long badge indeed"}, width=0.1).verdicts
    assert not verdict.ok and verdict.sentence.startswith("The badge is left out: ")


def test_a_repeated_watermark_leaves_no_part_of_the_picture_free() -> None:
    before = frame()
    other = (before.pixels() != laid(before, "watermark", text={"default": "Preview"}).pixels()).any(axis=2)
    parts = [other[top : top + 100, left : left + 150] for top in (0, 100, 200) for left in (0, 150, 300, 450)]
    assert all(part.any() for part in parts)


def test_a_tiny_watermark_is_refused_and_one_of_a_full_stop_is_not_repeated_without_end() -> None:
    with pytest.raises(ValidationError, match="size"):
        laid(frame(), "watermark", text={"default": "."}, size=0.009)
    places = _grid((12_000, 300), (4, 4), gap=2)
    inside = [place for place in places if 0 <= place[0] < 12_000 and 0 <= place[1] < 300]
    assert 1_000 <= len(inside) <= len(places) <= 4 * MOST
    lefts = {left for left, top in _grid((600, 300), (40, 20), gap=9) if top == 140}
    assert {329, 378} <= lefts, "a few stand as near to each other as is asked"


def test_a_watermark_is_as_strong_as_it_is_told() -> None:
    before = frame((100, 100, 100))
    weak, strong = (
        np.abs(laid(before, "watermark", text={"default": "Preview"}, opacity=opacity).pixels().astype(int) - 100).max()
        for opacity in (0.1, 0.4)
    )
    assert 12 <= weak <= 18 and 55 <= strong <= 65


def test_a_watermark_may_stand_in_one_place() -> None:
    before = frame(marks={"logo": BLUE})
    place = touched(before, laid(before, "watermark", mark="logo", repeated=False, size=0.05))
    assert (place.right, place.bottom) == (588, 288) and place.height == 15


def test_a_mark_that_is_turned_keeps_its_colour_up_to_its_edge() -> None:
    before = frame(GREEN, marks={"logo": (*RED, 255)})
    seen = np.unique(laid(before, "watermark", mark="logo", opacity=1, size=0.2).pixels().reshape(-1, 3), axis=0)
    line = np.linalg.norm(np.cross(seen - np.array(GREEN), np.subtract(RED, GREEN)), axis=1)
    assert (line / np.linalg.norm(np.subtract(RED, GREEN))).max() < 6  # every colour lies between the two


# Places


@pytest.mark.parametrize(
    ("anchor", "locale", "corner"),
    [
        ("top-left", "en", (0, 0)),
        ("centre", "en", (40, 20)),
        ("bottom-right", "en", (80, 40)),
        ("top-start", "en", (0, 0)),
        ("top-start", "ar-AE", (80, 0)),
        ("bottom-end", "he", (0, 40)),
        ("right", "ar", (80, 20)),
    ],
)
def test_nine_places_and_two_that_follow_the_reader(anchor: Any, locale: str, corner: tuple[int, int]) -> None:
    place = placed((20, 10), Area(0, 0, 100, 50), anchor, locale=locale)
    assert (place.left, place.top) == corner


def test_a_margin_larger_than_the_area_leaves_its_middle() -> None:
    assert inset(Area(0, 0, 10, 4), 0.9) == Area(4, 2, 6, 2)


def test_a_picture_looks_the_same_beside_an_overlay() -> None:
    before = frame(pixels_of(Image.linear_gradient("L").resize((600, 300)).convert("RGB")))
    place = touched(before, after := laid(before, "badge", text={"default": "New"}))
    assert np.array_equal(after.pixels()[place.bottom :], before.pixels()[place.bottom :])


# In a child


async def test_a_child_writes_in_a_font_of_the_operators_own(tmp_path: Path) -> None:
    """Its environment is empty, so the folder comes with the order."""
    house_font(tmp_path)
    steps = [step("resize"), step("text", fonts={"default": ["House Sans"]})]
    web = recipe(rendition("hero", 300, 150, operations=steps)).model_dump(mode="json")
    order = {"recipes": {"web": web}, "texts": {"headline": "Salt"}, "palette": PALETTE}
    children = Children(count=1, fonts=tmp_path)
    (made,) = (await children.develop(written(plain(300, 150, PAPER)), order)).made
    await children.stop()
    assert [verdict.ok for verdict in made.verdicts] == [True]
    assert made.manifest["notes"][0][1].startswith("House Sans 500 (")


def test_a_folder_of_fonts_that_is_not_there_stops_the_stage_as_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_FONTS", "/nowhere")
    with pytest.raises(ValidationError, match="fonts"):
        PostprocessSettings()


def test_the_guides_example_is_a_rendition_whose_steps_are_taken() -> None:
    guide = (Path(deploy.__file__).parents[1] / "docs/guides/overlays.md").read_text()
    for block in guide.split("```yaml\n")[1:3]:
        (told, *_) = yaml.safe_load(block.split("```")[0])
        steps = Rendition.model_validate(told).operations if "name" in told else [Step.model_validate(told)]
        for each in steps:
            operations()[each.op].parameters.model_validate(each.params)
