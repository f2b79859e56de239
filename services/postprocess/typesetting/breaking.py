"""Where a line may end: UAX #14, then what a typesetter would add to it.

Japanese, Chinese and Thai have no spaces: phrases are BudouX's, and the places between other characters are used only
where a phrase is wider than its box. A figure keeps its unit, and a word of one letter stays with the next.
"""

import re
from functools import cache
from typing import NamedTuple

import budoux
from uniseg.linebreak import line_break_boundaries

SPACES = re.compile(r"[ \t\r\f\v]+")
# "100 ml", "No. 4", "45 h": neither half says anything alone.
UNIT = r"(?:[%‰°€$£¥]|[A-Za-zµ]{1,3}(?![A-Za-zµ])|[^\W\d]{1,3}\b)"
KEPT = re.compile(rf"(\d\S* (?={UNIT}))|(\b[^\W\d]{{1,3}}\. (?=\d))|((?<!\S)(?<!\d )[^\W\d] (?=\S))")


class Breaks(NamedTuple):
    """Places in the text, its end among them: where lines should end, and where they may if they must."""

    wanted: tuple[int, ...]
    possible: tuple[int, ...]


def paragraphs(text: str) -> list[str]:
    """The lines a person wrote, each to be broken by itself; runs of spaces are one, empty lines none."""
    lines = (SPACES.sub(" ", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def breaks(text: str, locale: str) -> Breaks:
    ends = set(line_break_boundaries(text)) - {0} | {len(text)}
    kept = {found.end() for found in KEPT.finditer(text)}
    parser = _parser(locale)
    if parser is None:
        return Breaks(tuple(sorted(ends - kept)), tuple(sorted(ends)))
    phrases, at = set(), 0
    for phrase in parser.parse(text):
        at += len(phrase)
        phrases.add(at)
    if locale.lower().startswith("th"):  # UAX #14 leaves Thai to a dictionary
        ends |= phrases
    spaces = {at for at in ends if text[at - 1] == " "}
    return Breaks(tuple(sorted((ends & (phrases | spaces)) - kept | {len(text)})), tuple(sorted(ends)))


def _parser(locale: str) -> budoux.Parser | None:
    language, _, region = locale.replace("_", "-").lower().partition("-")
    traditional = any(part in {"tw", "hk", "mo", "hant"} for part in region.split("-"))
    return _loaded(f"zh-{'hant' if traditional else 'hans'}" if language == "zh" else language)


@cache
def _loaded(language: str) -> budoux.Parser | None:
    load = {
        "ja": budoux.load_default_japanese_parser,
        "zh-hans": budoux.load_default_simplified_chinese_parser,
        "zh-hant": budoux.load_default_traditional_chinese_parser,
        "th": budoux.load_default_thai_parser,
    }.get(language)
    return load() if load else None
