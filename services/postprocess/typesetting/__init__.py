"""Sets short texts on pictures: shaped, broken, fitted and drawn here, from font files whose digests are known.

HarfBuzz shapes and rasterises; no library of the machine takes part, so the same text gives the same pixels anywhere.
What cannot be set as asked is not set at all: `CannotSet` says which characters, or how much room.
"""

from services.postprocess.typesetting.drawing import Drawn, draw
from services.postprocess.typesetting.faults import CannotSet, DoesNotFit, MissingGlyphs, NoFont
from services.postprocess.typesetting.fitting import Arrangement, Room, Text, fit, read
from services.postprocess.typesetting.fonts import Fonts, Typeface

__all__ = [
    "Arrangement",
    "CannotSet",
    "DoesNotFit",
    "Drawn",
    "Fonts",
    "MissingGlyphs",
    "NoFont",
    "Room",
    "Text",
    "Typeface",
    "draw",
    "fit",
    "read",
]
