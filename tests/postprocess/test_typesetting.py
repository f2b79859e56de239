import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.postprocess.fonts import FOLDER
from services.postprocess.typesetting import DoesNotFit, Drawn, Fonts, MissingGlyphs, NoFont, Room, draw, fit, read
from services.postprocess.typesetting.fitting import Arrangement
from services.postprocess.typesetting.lines import Paragraph
from tests.postprocess.typefaces import house_font

ROOM = Room(400, 300, largest=80, least=12, lines=4)
ENGLISH = "Linden tea for the long blue hour"
ARABIC = "زيت الجسم 100 ml"
JAPANESE = "菩提樹の花、冬の一杯に。"


def arranged(text: str, locale: str = "en", room: Room = ROOM) -> Arrangement:
    faces = Fonts.at(None).chosen(locale, weight=500)
    return fit(read(text, locale=locale, faces=faces), room)


def paragraph(text: str, locale: str = "en") -> Paragraph:
    return Paragraph(text, locale=locale, faces=Fonts.at(None).chosen(locale, weight=500))


def families(text: str, locale: str) -> list[str]:
    return sorted({glyph.face.family for glyph in paragraph(text, locale).line(0, len(text)).glyphs})


# Fonts


@pytest.mark.parametrize(
    ("text", "locale", "expected"),
    [
        (ENGLISH, "en", ["Instrument Sans"]),
        ("Łódź, čaj, żółw, ő, ş", "pl", ["Instrument Sans"]),
        (ARABIC, "ar", ["IBM Plex Sans Arabic"]),
        ("چای پونه", "fa", ["IBM Plex Sans Arabic"]),
        (f"{JAPANESE} 100 ml", "ja-JP", ["Noto Sans JP"]),
        ("Salt ملح", "en", ["IBM Plex Sans Arabic", "Instrument Sans"]),
    ],
)
def test_each_locale_is_set_in_the_fonts_shipped_for_it(text: str, locale: str, expected: list[str]) -> None:
    assert families(text, locale) == expected


def test_names_of_people_can_be_written_in_japanese() -> None:
    assert families("髙橋・﨑山・龍之介・鷗外〜～", "ja") == ["Noto Sans JP"]


@pytest.mark.parametrize(
    ("text", "locale", "missing"), [("خبز 花と", "ar", "花と"), ("Чай", "ru", "Чай"), ("tea 😀", "en", "😀")]
)
def test_characters_that_the_fonts_cannot_write_are_named(text: str, locale: str, missing: str) -> None:
    with pytest.raises(MissingGlyphs) as caught:
        arranged(text, locale)
    assert set(caught.value.characters) == set(missing)
    assert all(f"{each} (U+{ord(each):04X})" in str(caught.value) for each in missing)


def test_a_control_character_is_named_by_its_number() -> None:
    with pytest.raises(MissingGlyphs, match=r"cannot write U\+0007:"):
        arranged("tea\a")


def test_a_font_that_is_not_here_is_an_error_and_not_another_font(tmp_path: Path) -> None:
    fonts = Fonts(tmp_path)
    with pytest.raises(NoFont, match="there is no font 'Comic'"):
        fonts.chosen("en", weight=500, families=["Comic"])
    with pytest.raises(NoFont, match="Noto Sans JP is not here in weight 700, only in 500"):
        fonts.chosen("ja", weight=700)


def test_a_folder_adds_families(tmp_path: Path) -> None:
    file = house_font(tmp_path)
    (face,) = Fonts(tmp_path).chosen("en", weight=500, families=["house sans"])
    assert (face.family, face.weight, face.path) == ("House Sans", 500, file)


def test_a_font_of_the_folder_goes_before_the_one_that_is_shipped(tmp_path: Path) -> None:
    file = house_font(tmp_path, family="Instrument Sans")
    fonts = Fonts(tmp_path)
    assert fonts.chosen("en", weight=500)[0].path == file
    assert fonts.chosen("en", weight=700)[0].path == FOLDER / "instrument-sans-700.ttf"


def test_two_files_that_say_the_same_of_themselves_are_refused(tmp_path: Path) -> None:
    house_font(tmp_path, file="a.ttf")
    house_font(tmp_path, file="b.ttf")
    with pytest.raises(NoFont, match=r"a\.ttf and b\.ttf are both House Sans 500"):
        Fonts(tmp_path).chosen("en", weight=500, families=["House Sans"])


@pytest.mark.parametrize("data", [b"", b"no font at all"])
def test_a_file_that_is_no_font_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "broken.ttf").write_bytes(data)
    with pytest.raises(NoFont, match=r"broken\.ttf"):
        Fonts(tmp_path)


def test_families_are_tried_in_the_order_they_are_named(tmp_path: Path) -> None:
    house_font(tmp_path, codes=[ord(each) for each in "Salt "])
    faces = Fonts(tmp_path).chosen("en", weight=500, families=["House Sans", "IBM Plex Sans Arabic"])
    line = Paragraph("Salt ملح", locale="en", faces=faces).line(0, 8)
    assert {glyph.face.family for glyph in line.glyphs} == {"House Sans", "IBM Plex Sans Arabic"}
    with pytest.raises(MissingGlyphs) as caught:
        Paragraph("Salz", locale="en", faces=faces[:1]).line(0, 4)
    assert caught.value.characters == "z"


# Lines


def test_arabic_letters_join() -> None:
    joined = {glyph.id for glyph in paragraph("بيت", "ar").line(0, 3).glyphs}
    alone = {glyph.id for letter in "بيت" for glyph in paragraph(letter, "ar").line(0, 1).glyphs}
    assert joined.isdisjoint(alone)


def test_letters_are_kerned() -> None:
    pair = paragraph("To").line(0, 2).advance
    assert pair < paragraph("T").line(0, 1).advance + paragraph("o").line(0, 1).advance


def test_figures_in_arabic_read_from_left_to_right() -> None:
    up, down = (
        [glyph.id for glyph in sorted(paragraph(text, "ar").line(0, 7).glyphs, key=lambda glyph: glyph.x)][:3]
        for text in ("ملح 120", "ملح 021")
    )
    assert up == down[::-1] and up[0] != up[2]


def test_a_line_keeps_the_levels_of_its_paragraph() -> None:
    """Alone, "(tea)" would run to the right and open with the other bracket."""
    text = "ملح (tea)"
    within, alone = paragraph(text, "ar").line(4, 9), paragraph("(tea)", "ar").line(0, 5)
    assert [glyph.id for glyph in within.glyphs] == [glyph.id for glyph in alone.glyphs]
    assert paragraph(text, "ar").right_to_left and not paragraph("(tea)", "ar").right_to_left


def test_spaces_at_the_end_of_a_line_take_no_room() -> None:
    assert paragraph("tea  ").line(0, 5) == paragraph("tea  ").line(0, 3)


# Fitting


def test_a_text_is_as_large_as_its_room_allows() -> None:
    sizes = [arranged(ENGLISH, room=ROOM._replace(width=width)).size for width in (120, 240, 400)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    assert arranged("Tea").size == ROOM.largest


@given(st.text("abcdefgh ij-,", min_size=1, max_size=60), st.integers(60, 500), st.integers(20, 300))
@settings(max_examples=60, deadline=None)
def test_what_is_set_keeps_its_room_and_says_every_letter(text: str, width: int, height: int) -> None:
    room = ROOM._replace(width=width, height=height)
    try:
        found = arranged(text, room=room)
    except (DoesNotFit, IndexError):
        return
    assert found.width <= width and found.height <= height and len(found.lines) <= room.lines


def test_lines_are_of_like_length() -> None:
    found = arranged("Soap with linden blossom and a little sea salt from the north", room=ROOM._replace(largest=24))
    widths = [line.width for line in found.lines]
    assert min(widths) > 0.75 * max(widths)


def test_no_word_is_left_alone_on_the_last_line() -> None:
    """Greedily: "Linden tea for the long blue" and "hour"."""
    found = arranged(ENGLISH, room=ROOM._replace(width=340, largest=25))
    assert len(found.lines) == 2
    assert found.lines[1].width > 0.6 * found.lines[0].width


def test_marks_above_a_line_do_not_touch_the_line_before() -> None:
    found = arranged("gjpqy\nÅÖŐ", room=ROOM._replace(leading=0.5))
    above, below = found.lines
    assert -above.ink.bottom * found.size + below.ink.top * found.size < found.pitch


def test_a_written_line_break_is_kept() -> None:
    assert len(arranged("Tea\nand salt").lines) == 2


def test_a_word_wider_than_its_box_is_refused_with_both_widths() -> None:
    with pytest.raises(
        DoesNotFit, match=r"a word of \d+ px at the least size, 12 px, is wider than its box of 40 × 300"
    ):
        arranged("Extraordinarily", room=ROOM._replace(width=40))


def test_more_lines_than_allowed_are_refused() -> None:
    with pytest.raises(DoesNotFit, match="in 1 lines"):
        arranged(ENGLISH, room=ROOM._replace(width=60, lines=1))


def test_japanese_breaks_inside_a_phrase_only_where_it_must() -> None:
    wide, narrow = arranged(JAPANESE, "ja"), arranged(JAPANESE, "ja", ROOM._replace(width=44))
    assert {line.advance for line in wide.lines} <= {
        paragraph(JAPANESE, "ja").line(start, end).advance for start in (0, 4, 6, 8) for end in (4, 6, 8, 12)
    }
    assert narrow.size >= ROOM.least


# Drawing


def drawn(text: str, locale: str = "en") -> Drawn:
    return draw(arranged(text, locale), "left")


@pytest.mark.parametrize(("text", "locale"), [(ENGLISH, "en"), (ARABIC, "ar"), (JAPANESE, "ja")])
def test_the_rectangle_drawn_holds_all_ink_and_no_more(text: str, locale: str) -> None:
    found = arranged(text, locale)
    coverage = draw(found, "left").coverage
    assert all(edge.any() for edge in (coverage[:2], coverage[-2:], coverage[:, :2], coverage[:, -2:]))
    assert abs(coverage.shape[1] - found.width) <= 1 and coverage.shape[0] == found.height


def test_edges_are_smooth() -> None:
    values = np.unique(drawn("So").coverage)
    assert len(values) > 50 and {0, 255} <= set(values.tolist())


def test_every_line_is_flush_with_its_side() -> None:
    found = arranged("Wide\nHH", room=ROOM._replace(largest=40))
    left, right = (draw(found, side).coverage for side in ("left", "right"))
    assert left[-20:, :3].any() and not left[-20:, -3:].any()
    assert right[-20:, -3:].any() and not right[-20:, :3].any()


def test_no_library_of_the_machine_takes_part() -> None:
    """Pillow's Raqm would load the machine's FriBidi, and set Arabic wrong where there is none."""
    program = (
        "from services.postprocess.typesetting import *\n"
        "draw(fit(read('ملح', locale='ar', faces=Fonts.at(None).chosen('ar', weight=500)),"
        " Room(200, 90, 40, 9, 1)), 'left')\n"
        "print(open('/proc/self/maps').read())"
    )
    maps = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert "uharfbuzz" in maps
    assert not [name for name in ("fribidi", "raqm", "freetype", "libharfbuzz", "icu") if name in maps]
