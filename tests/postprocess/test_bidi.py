from unicodedata import bidirectional

import pytest
from bidi import get_display
from hypothesis import given, settings
from hypothesis import strategies as st

from services.postprocess.typesetting.bidi import REMOVED, levels, paragraph_level, visual_order

# One or two of every class that UAX #9 knows but isolates, so that short texts meet each rule. The other one puts what
# follows an isolate elsewhere than FriBidi and we do (1א, an isolate, then [1]): isolates are among the cases below.
ALPHABET = "ab אע بت 12 ٣٤ +- $% ., ()[] !&\u0301\u00ad\u202a\u202b\u202c\u202d\u202e"
UNSEEN = REMOVED | {"WS"}


def shown(text: str, base: int | None = None) -> str:
    """The text as it stands from left to right; what nobody sees may stand anywhere."""
    return "".join(text[at] for at in visual_order(levels(text, base)) if bidirectional(text[at]) not in UNSEEN)


@given(st.text(ALPHABET, max_size=16).map(str.split).map(" ".join), st.sampled_from([(0, "L"), (1, "R")]))
@settings(max_examples=150, deadline=None)
def test_characters_stand_where_an_independent_implementation_puts_them(text: str, base: tuple[int, str]) -> None:
    theirs = get_display(text, base_dir=base[1])
    assert shown(text, base[0]) == "".join(each for each in theirs if bidirectional(each) not in UNSEEN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("salt", [0, 0, 0, 0]),
        ("ملح", [1, 1, 1]),
        ("ملح 100", [1, 1, 1, 1, 2, 2, 2]),
        ("tea ملح", [0, 0, 0, 0, 1, 1, 1]),
        ("ملح (tea)", [1, 1, 1, 1, 1, 2, 2, 2, 1]),  # N0: both brackets go with the paragraph
        ("tea (b) ملح", [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]),
        (
            "ملح \u2066100 ml\u2069",
            [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1],
        ),  # an isolate is one thing to what is around it
        ("1א\u20661\u2069[1]", [2, 1, 1, 2, 1, 1, 2, 1]),  # N0 sees past an isolate
        ("1\u202d\u2066", [0, 0, 0]),
        ("ملح \u2068…\u2069", [1, 1, 1, 1, 1, 2, 1]),  # X5c: nothing strong inside runs from left to right
        ("", []),
    ],
)
def test_levels_are_those_of_the_rules(text: str, expected: list[int]) -> None:
    assert levels(text) == expected


@pytest.mark.parametrize(("text", "level"), [("100 ml", 0), ("100 ملح", 1), ("\u2067ملح\u2069 tea", 0), ("…", 0)])
def test_the_first_strong_letter_outside_isolates_gives_the_paragraph_its_direction(text: str, level: int) -> None:
    assert paragraph_level(text) == level


def test_brackets_that_are_written_two_ways_are_still_a_pair() -> None:
    assert levels("ab \u2329ملح\u3009 ab", 0)[3] == levels("ab \u2329ملح\u3009 ab", 0)[7] == 0


def test_embedding_stops_at_the_depth_the_rules_name() -> None:
    assert max(levels("\u202b\u202a" * 100 + "a")) <= 126
