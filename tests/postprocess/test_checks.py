from dataclasses import replace

import pytest

from services.postprocess.checks.files import CHECKS, Subject, check, dimensions, media_type, naming, weight
from shared.contracts.check_names import CHECK_NAMES
from shared.events import Verdict

HERO = Subject(
    label="email/hero",
    name="spring-hero.jpg",
    media_type="image/jpeg",
    width=1200,
    height=600,
    bytes=150_000,
    wanted_type="image/jpeg",
    wanted=(1200, 600),
    max_bytes=200_000,
)


def checked(*files: Subject, blocking: frozenset[str] = frozenset()) -> list[Verdict]:
    return check(files, alt_text="A bottle", caption="Oil", blocking=blocking)


def test_a_good_set_passes_every_check_in_one_line_each() -> None:
    verdicts = checked(HERO, replace(HERO, name="spring-hero-2.jpg"))
    assert [(verdict.check, verdict.ok) for verdict in verdicts] == [
        ("dimensions", True),
        ("bytes", True),
        ("format", True),
        ("naming", True),
        ("metadata", True),
    ]


def test_the_promised_size_is_met_exactly() -> None:
    assert dimensions(HERO).ok
    assert not dimensions(replace(HERO, width=1199)).ok


def test_what_stayed_small_says_so() -> None:
    verdict = dimensions(replace(HERO, width=800, height=400))
    assert (verdict.ok, verdict.number, verdict.limit) == (False, 800, 1200)
    assert verdict.sentence == "email/hero is 800 × 400, asked 1200 × 600; the original is too small."


def test_a_bound_is_met_on_one_side() -> None:
    bounded = replace(HERO, exact=False, wanted=(1200, 1200))
    assert dimensions(bounded).ok
    assert not dimensions(replace(bounded, width=1201)).ok
    assert not dimensions(replace(bounded, width=900, height=450)).ok


def test_too_many_bytes_name_both_numbers() -> None:
    verdict = weight(replace(HERO, bytes=231_400))
    assert (verdict.ok, verdict.number, verdict.limit, verdict.unit) == (False, 231_400, 200_000, "bytes")
    assert verdict.sentence == "email/hero takes 231 kB of 200 kB allowed even at the lowest quality."


def test_bytes_at_the_limit_are_allowed() -> None:
    assert weight(replace(HERO, bytes=200_000)).ok


def test_the_line_that_passes_is_the_one_nearest_its_limit() -> None:
    near, far = replace(HERO, label="near", bytes=199_000), replace(HERO, label="far", bytes=1000, name="far.jpg")
    assert [verdict.sentence for verdict in checked(far, near) if verdict.check == "bytes"] == [
        "near takes 199 kB of 200 kB allowed."
    ]


def test_every_failure_is_told() -> None:
    bad = [replace(HERO, label=f"ads/{n}", name=f"ad-{n}.jpg", bytes=300_000) for n in range(3)]
    failed = [verdict for verdict in checked(HERO, *bad) if not verdict.ok]
    assert [verdict.check for verdict in failed] == ["bytes"] * 3


def test_a_format_that_is_not_what_was_asked_fails() -> None:
    verdict = media_type(replace(HERO, media_type="image/png"))
    assert not verdict.ok
    assert verdict.sentence == "email/hero is image/png, asked image/jpeg."


@pytest.mark.parametrize("name", ["Spring Hero.jpg", "spring/hero.jpg", "spring.jpg.exe", "häro.jpg", "", "-.jpg"])
def test_a_name_that_is_not_safe_everywhere_fails(name: str) -> None:
    assert not next(naming([replace(HERO, name=name)])).ok


def test_two_files_of_one_name_fail() -> None:
    assert [verdict.ok for verdict in naming([HERO, HERO])] == [False, False]


@pytest.mark.parametrize(
    ("alt_text", "caption", "missing", "sentence"),
    [
        ("A bottle", "Oil", 0, "Alt text and caption are there."),
        (None, "Oil", 1, "There is no alt text."),
        ("A bottle", "  ", 1, "There is no caption."),
        ("", None, 2, "There is no alt text and no caption."),
    ],
)
def test_missing_words_are_counted(alt_text: str | None, caption: str | None, missing: int, sentence: str) -> None:
    verdict = check([], alt_text=alt_text, caption=caption)[-1]
    assert (verdict.ok, verdict.number, verdict.sentence) == (missing == 0, missing, sentence)


def test_the_rubric_says_which_checks_block() -> None:
    verdicts = checked(HERO, blocking=frozenset({"bytes", "naming"}))
    assert {verdict.check for verdict in verdicts if verdict.blocking} == {"bytes", "naming"}


def test_every_check_has_the_name_it_is_known_by() -> None:
    assert {verdict.check for verdict in checked(HERO)} == CHECKS <= CHECK_NAMES
