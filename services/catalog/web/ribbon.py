"""A job's time drawn to scale, so that a second of work and a second of waiting have the same length."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.catalog.web.view import Span

CUT_WIDTH = 56.0
CUT_FROM = 12
GAP = 1.0


@dataclass(frozen=True, slots=True)
class Piece:
    """One span in the units of the drawing. A cut piece stands for a wait too long to draw: its width says nothing."""

    span: Span
    x: float
    width: float
    cut: bool = False


def ribbon(spans: Sequence[Span], width: float) -> list[Piece]:
    """Lays spans side by side on `width` units, to scale.

    A wait longer than CUT_FROM times everything else (a person's night) is cut and drawn with a fixed width; otherwise
    it would squeeze the machine's seconds into nothing.
    """
    total = sum(span.seconds for span in spans)
    cuts = {
        i
        for i, span in enumerate(spans)
        if span.kind == "wait" and span.seconds > CUT_FROM * (total - span.seconds) > 0
    }
    scaled = total - sum(spans[i].seconds for i in cuts)
    room = width - CUT_WIDTH * len(cuts) - GAP * max(len(spans) - 1, 0)
    pieces: list[Piece] = []
    x = 0.0
    for i, span in enumerate(spans):
        span_width = CUT_WIDTH if i in cuts else room * span.seconds / scaled if scaled else 0.0
        pieces.append(Piece(span, round(x, 2), round(span_width, 2), i in cuts))
        x += span_width + GAP
    return pieces
