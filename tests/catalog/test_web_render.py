"""Numbers into words, time to scale, and what the look promises: sizes, contrast, no outside asset."""

import re
from decimal import Decimal
from itertools import pairwise

import pytest

from services.catalog.web.asked import linker
from services.catalog.web.pages import keys_of
from services.catalog.web.render import drawn, lasting, money, size, sparkline, static_files
from services.catalog.web.ribbon import CUT_WIDTH, GAP, ribbon
from services.catalog.web.view import Money, ReviewQuery, Span
from tests.catalog.campaign import VIEWER
from tests.catalog.fake_pages import reviewed


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.004, "4 ms"),
        (0.4, "0.4 s"),
        (9.96, "10 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (3599, "1 h"),
        (11520, "3 h 12 min"),
        (2 * 86400 - 1, "2 d"),
        (3 * 86400 + 7200, "3 d 2 h"),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


@pytest.mark.parametrize(
    ("sum_", "words"),
    [
        (Money(amount=None), "cost not known"),
        (Money(amount=Decimal(0)), "$0.00"),
        (Money(amount=Decimal("0.0021")), "$0.0021"),
        (Money(amount=Decimal("1234.5")), "$1,234.50"),
        (Money(amount=Decimal("0.04"), currency="EUR"), "0.04 EUR"),
    ],
)
def test_an_unknown_cost_is_never_zero(sum_: Money, words: str) -> None:
    assert money(sum_) == words


def test_bytes_are_counted_in_thousands() -> None:
    assert [size(n) for n in (999, 94_210, 999_499, 999_500)] == ["999 B", "94 kB", "999 kB", "1.0 MB"]


def test_what_no_vendored_font_has_is_drawn_and_still_read_aloud() -> None:
    assert drawn("ΔE 3 ≤ 6 <b>").count("<svg") == 2
    assert 'aria-label="≤"' in drawn("≤")
    assert "&lt;b&gt;" in drawn("<b>")


def test_a_ribbon_is_to_scale() -> None:
    spans = [Span(kind="work", words="a", begins=0, seconds=1), Span(kind="wait", words="b", begins=1, seconds=3)]
    work, wait = ribbon(spans, 401)
    assert (work.width, wait.width) == (100, 300)
    assert wait.x == work.width + GAP


def test_a_night_of_waiting_is_cut_and_leaves_the_seconds_their_scale() -> None:
    spans = [
        Span(kind="work", words="a", begins=0, seconds=1),
        Span(kind="wait", words="a person", begins=1, seconds=40_000),
        Span(kind="work", words="b", begins=40_001, seconds=1),
    ]
    first, night, last = ribbon(spans, 458)
    assert night.cut and night.width == CUT_WIDTH
    assert first.width == last.width == 200


def test_a_ribbon_of_nothing_is_nothing() -> None:
    assert ribbon([], 400) == []
    assert [piece.width for piece in ribbon([Span(kind="work", words="a", begins=0, seconds=0)], 400)] == [0]


def test_a_line_of_zeros_lies_flat_at_the_foot() -> None:
    assert {point.split(",")[1] for point in sparkline((0, 0, 0)).split()} == {"23.0"}


def test_a_link_keeps_the_state_it_does_not_change_and_drops_defaults() -> None:
    link = linker("/review", ("queue", "asset", "zoom"), {"queue": "approved", "asset": "x", "other": "y"})
    assert link() == "/review?queue=approved&asset=x"
    assert link(asset=None, queue="to_review") == "/review"
    assert link(zoom="1") == "/review?queue=approved&asset=x&zoom=1"


async def test_arrow_keys_lead_to_the_neighbours_and_the_neighbouring_sets() -> None:
    fake = reviewed()
    here = fake.pieces[10]
    keys = keys_of(await fake.review(VIEWER, ReviewQuery(asset=here.asset_id)))
    assert keys(fake.pieces[11].asset_id) == "ArrowRight l"
    assert keys(fake.pieces[12].asset_id) == "ArrowDown j"
    assert keys(fake.pieces[9].asset_id) == "ArrowLeft h"
    assert keys(fake.pieces[6].asset_id) == "ArrowUp k"
    assert keys(here.asset_id) == ""


def test_the_look_weighs_what_was_promised() -> None:
    files = static_files()[1]
    scripts = [len(file.body) for name, file in files.items() if name.endswith(".js") and not name.startswith("htmx")]
    assert len(files["calotype.css"].body) <= 15_000
    assert sum(scripts) <= 12_000
    assert "htmx.LICENSE.txt" in files


def test_the_stylesheet_fetches_nothing_from_outside() -> None:
    css = static_files()[1]["calotype.css"].body.decode()
    assert "://" not in css and "@import" not in css
    addresses = re.findall(r"url\(([^)#]+)\)", css)
    assert addresses and all(address in static_files()[1] for address in addresses)


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("room", ["darkroom", "paper"])
def test_every_text_colour_stands_out_from_every_ground(room: str) -> None:
    css = static_files()[1]["calotype.css"].body.decode()
    block = next(line for line in css.splitlines() if line.startswith(f".{room}{{"))
    short = dict(pair.split(":") for pair in block[len(room) + 2 : -1].split(";"))
    colours = {name: re.sub(r"^#(.)(.)(.)$", r"#\1\1\2\2\3\3", value) for name, value in short.items()}
    texts = ("--text", "--dim", "--faint", "--amber", "--ok", "--no", "--run")
    low = [
        (text, ground, round(found, 2))
        for text in texts
        for ground in ("--ground", "--panel")
        if (found := contrast(colours[text], colours[ground])) < 4.5
    ]
    assert low == []
    assert contrast(colours["--dim"], colours["--raised"]) >= 4.5  # keys
    assert all(a >= b for a, b in pairwise(contrast(colours[t], colours["--ground"]) for t in texts[:3]))


@pytest.mark.parametrize("ground", ["#4a4a4a", "#3a3a3a", "#141414"])
def test_on_the_stage_only_the_brightest_text_is_used(ground: str) -> None:
    assert contrast("#ecebe8", ground) >= 4.5
