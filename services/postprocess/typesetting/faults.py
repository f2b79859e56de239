"""Why a text is not set; each message ends with what to do."""

from unicodedata import category


class CannotSet(Exception):
    """The text is left out; the message says why and what to do."""


class NoFont(CannotSet):
    """No font file here is the one asked for."""


class MissingGlyphs(CannotSet):
    """The fonts asked for cannot write some characters."""

    def __init__(self, characters: str, *, families: str) -> None:
        named = ", ".join(_named(character) for character in dict.fromkeys(characters))
        super().__init__(
            f"{families} cannot write {named}: name a family that can, from CALOTYPE_FONTS, in `fonts` for this locale"
        )
        self.characters = characters


class NoInk(CannotSet):
    """Nothing of it would be seen."""

    def __init__(self) -> None:
        super().__init__("its characters are invisible, and nothing would be seen: write words, or leave it empty")


class DoesNotFit(CannotSet):
    """Even at the least size the text is larger than its box."""


def _named(character: str) -> str:
    code = f"U+{ord(character):04X}"
    return code if category(character)[0] in "CZ" else f"{character} ({code})"
