"""Finding restricted terms in text that tries to hide them.

Text and terms are folded alike (compatibility forms, case, accents, invisible characters, letters of other alphabets
drawn like Latin ones) and cut into words. A term is found as whole words, written as one word too; and once more in
the text with its punctuation deleted and its spread-out letters pulled together ("cu-res", "c u r e s", "c.u.r.e.s").
"""

import re
import string
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from shared.library.documents import Policy, Rule

# Cyrillic and Greek small letters drawn like Latin ones (Unicode's confusables.txt, the single-letter pairs).
_LOOK_ALIKES = str.maketrans("авеікмнорстухѕјԁɡһԛԝѵοαενικυρτχ", "abeikmhopctyxsjdghqwvoaevikuptx")
_ACCENTS = "\u0300-\u036f"  # not the marks of Arabic, Indic scripts or kana, where they are letters
# Format characters (category Cf), variation selectors and the Hangul fillers: all without a glyph.
_INVISIBLE = (
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef"
)
_UNSEEN = re.compile(f"[{_ACCENTS}{_INVISIBLE}]")
# Scripts written without spaces have no words to stand alone: Thai to Tibetan, Khmer, kana, CJK.
_UNSPACED = re.compile("[\u0e00-\u0fff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")

_BETWEEN_WORDS = re.compile(r"[\W_]+")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_SPREAD = re.compile(r"(?<= )\w(?: \w){2,}(?= )")
_ASCII_TO_SPACE = str.maketrans(dict.fromkeys(string.punctuation, " "))
_ASCII_TO_NOTHING = str.maketrans(dict.fromkeys(string.punctuation))


@dataclass(frozen=True, slots=True)
class Hit:
    rule: Rule
    term: str


def find(policy: Policy, text: str) -> Hit | None:
    """The first rule, in the policy's order, that the text breaks."""
    folded = _fold(text)
    words, together = _words(folded), _together(folded)
    for rule in policy.rules:
        for term, needles in _needles(tuple(rule.terms)):
            for needle in needles:
                if needle in words or needle in together:
                    return Hit(rule, term)
    return None


def _fold(text: str) -> str:
    """The text as a reader sees it."""
    if text.isascii():
        return text.casefold()
    plain = _UNSEEN.sub("", unicodedata.normalize("NFKD", text)).casefold().translate(_LOOK_ALIKES)
    return unicodedata.normalize("NFKC", plain)


def _words(folded: str) -> str:
    """The words with one space before, between and after, so that " word " finds whole words only."""
    spaced = folded.translate(_ASCII_TO_SPACE) if folded.isascii() else _BETWEEN_WORDS.sub(" ", folded)
    return f" {' '.join(spaced.split())} "


def _together(folded: str) -> str:
    bare = folded.translate(_ASCII_TO_NOTHING) if folded.isascii() else _PUNCTUATION.sub("", folded)
    return _SPREAD.sub(lambda spread: spread[0].replace(" ", ""), f" {' '.join(bare.split())} ")


@lru_cache(maxsize=1024)
def _needles(terms: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each term as it was written, with what to look for."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for term in terms:
        words = _words(_fold(term)).strip()
        if words:
            start = "" if _UNSPACED.match(words[0]) else " "
            end = "" if _UNSPACED.match(words[-1]) else " "
            spellings = dict.fromkeys((words, words.replace(" ", "")))
            found.append((term, tuple(start + spelling + end for spelling in spellings)))
    return tuple(found)
