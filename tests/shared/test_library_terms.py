import pytest

from shared.library.documents import Policy, Rule
from shared.library.terms import find


def policy(*terms: str) -> Policy:
    return Policy(name="house", version=1, owner="x", rules=[Rule(id="claims", terms=list(terms), why="w", remedy="r")])


@pytest.mark.parametrize(
    "text",
    [
        "cures",
        "It CURES eczema.",
        "ｃｕｒｅｓ",  # full width
        "cu\u00adres",  # soft hyphen
        "c\u200bure\u2060s",  # zero-width space, word joiner
        "cu\u034fres",  # combining grapheme joiner
        "\u0441ures",  # Cyrillic с
        "c\u00fares",  # an accent
        "c u r e s",
        "c.u.r.e.s",
        "c_u_r_e_s",
        "cu-res",
        "soap that\u00a0cures\u2003all",
    ],
)
def test_a_term_is_found_however_it_is_dressed(text: str) -> None:
    hit = find(policy("soothes", "cures"), text)
    assert hit is not None and hit.term == "cures"


@pytest.mark.parametrize("text", ["manicures", "a cure so rest", "curesome", "", "a b c d", "secures it"])
def test_a_term_inside_another_word_is_not_found(text: str) -> None:
    assert find(policy("cures"), text) is None


@pytest.mark.parametrize("text", ["heals eczema", "heals   eczema", "heals-eczema", "heals\u00a0eczema", "HealsEczema"])
def test_a_term_of_two_words_is_found_with_any_gap_between_them(text: str) -> None:
    assert find(policy("heals eczema"), text) is not None


def test_scripts_without_spaces_need_no_word_boundary() -> None:
    assert find(policy("治す"), "病気を治す石鹸") is not None


def test_the_marks_of_other_scripts_are_letters_there() -> None:
    assert find(policy("が"), "か") is None
    assert find(policy("علاج"), "علاج طبيعي") is not None


def test_the_first_rule_of_the_policy_that_matches_is_named() -> None:
    rules = [Rule(id=name, terms=[term], why="w", remedy="r") for name, term in [("one", "red"), ("two", "blue")]]
    hit = find(Policy(name="p", version=1, owner="x", rules=rules), "blue and red")
    assert hit is not None and hit.rule.id == "one"
