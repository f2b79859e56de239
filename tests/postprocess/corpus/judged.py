"""Whether what became of a file is what was to become of it."""

from collections.abc import Callable, Iterable

import numpy as np

from tests.postprocess.corpus.cases import Case, Decodes, Pixels

Decoder = Callable[[bytes], Pixels | str]  # the pixels, or the code of the refusal


def wrong(cases: Iterable[Case], decoder: Decoder) -> list[str]:
    """A line for each file of which something else became."""
    told = ((case, _told(case, decoder(case.data))) for case in cases)
    return [f"{case}: {line}" for case, line in told if line]


def _told(case: Case, became: Pixels | str) -> str | None:
    if not isinstance(case.expected, Decodes):
        code = became if isinstance(became, str) else "decoded"
        return None if code == case.expected.code else f"{code}, not {case.expected.code}"
    if isinstance(became, str):
        return f"{became}, not decoded"
    if case.expected.pixels is None:
        return None
    expected = opaque(case.expected.pixels)
    if became.shape != expected.shape:
        return f"{became.shape}, not {expected.shape}"
    off = int(np.abs(became.astype(int) - expected.astype(int)).max())
    return f"off by {off}" if off > case.expected.within else None


def opaque(pixels: Pixels) -> Pixels:
    """Without alpha where nothing is see-through."""
    return pixels[..., :3] if pixels.shape[2] == 4 and bool((pixels[..., 3] == 255).all()) else pixels
