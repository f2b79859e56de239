"""Fonts of an operator's own."""

from collections.abc import Sequence
from pathlib import Path

from fontTools.ttLib import TTFont

from services.postprocess.fonts import FOLDER


def house_font(folder: Path, *, family: str = "House Sans", file: str = "house.ttf", codes: Sequence[int] = ()) -> Path:
    """Instrument Sans by another name, perhaps with fewer characters."""
    font = TTFont(FOLDER / "instrument-sans-500.ttf")
    for name in (1, 16):
        font["name"].setName(family, name, 3, 1, 0x409)
    for table in font["cmap"].tables if codes else ():
        table.cmap = {code: glyph for code, glyph in table.cmap.items() if code in codes}
    font.save(folder / file)
    return folder / file
