import pytest

from services.postprocess.typesetting.breaking import breaks, paragraphs


def pieces(text: str, locale: str = "en") -> list[str]:
    wanted = breaks(text, locale).wanted
    return [text[start:end] for start, end in zip((0, *wanted), wanted, strict=False)]


def test_lines_end_after_spaces_and_hyphens() -> None:
    assert pieces("Slow-made linden tea") == ["Slow-", "made ", "linden ", "tea"]


def test_a_no_break_space_holds() -> None:
    assert pieces("Salt\u00a0& Linden") == ["Salt\u00a0& ", "Linden"]


@pytest.mark.parametrize("text", ["100 ml", "80 g", "No. 4", "25 %", "3 مل"])
def test_a_figure_keeps_its_unit(text: str) -> None:
    assert pieces(f"Now {text} more")[1].strip() == text


def test_a_word_of_one_letter_stays_with_the_next() -> None:
    assert pieces("Čaj z lípy a soli", "cs") == ["Čaj ", "z lípy ", "a soli"]


def test_japanese_ends_lines_between_phrases() -> None:
    assert pieces("菩提樹の花、冬の一杯に。", "ja") == ["菩提樹の", "花、", "冬の", "一杯に。"]


@pytest.mark.parametrize("text", ["ゆっくり、チョコレートを。", "「冬」のキャンドルです", "一人々々、ラッピング"])
def test_no_line_begins_with_what_japanese_forbids(text: str) -> None:
    """Small kana, the long vowel, the iteration mark and closing punctuation; UAX #14 strictly, LB1 CJ as NS."""
    begins = {text[at] for at in breaks(text, "ja").possible if at < len(text)}
    assert begins.isdisjoint("、。」ゃゅょっャュョッー々")
    assert "「" not in {text[at - 1] for at in breaks(text, "ja").possible}


def test_a_phrase_may_break_inside_where_it_must() -> None:
    found = breaks("菩提樹の花", "ja")
    assert set(found.wanted) < set(found.possible)


@pytest.mark.parametrize(
    ("text", "locale"), [("今天是晴天。", "zh-CN"), ("今天是晴天。", "zh-TW"), ("วันนี้อากาศดี", "th")]
)
def test_chinese_and_thai_have_phrases_too(text: str, locale: str) -> None:
    assert 1 < len(pieces(text, locale)) < len(text)


def test_a_written_line_is_a_paragraph_and_runs_of_spaces_are_one() -> None:
    assert paragraphs("  Salt \t &  Linden\r\n\n tea ") == ["Salt & Linden", "tea"]
    assert paragraphs(" \n ") == []
