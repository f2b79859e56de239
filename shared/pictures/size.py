"""How large a picture may be, by what its header says."""

from shared.pictures.words import Limits, Refused, damaged


def refuse_too_large(width: int, height: int, limits: Limits) -> None:
    """Raises Refused for more pixels or a longer side than the limits have, and for none at all."""
    if not width or not height:
        raise damaged("its header says that it has no pixels")
    if width * height > limits.pixels:
        what = f"{width} × {height} pixels are more than {_spoken(limits.pixels)}"
        raise Refused("too_many_pixels", what)
    if max(width, height) > limits.side:
        raise Refused("too_many_pixels", f"{width} × {height}: no side may have more than {limits.side:,} pixels")


def _spoken(pixels: int) -> str:
    return f"{pixels // 1_000_000} million" if pixels % 1_000_000 == 0 else f"{pixels:,}"
