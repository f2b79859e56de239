"""What an image starts from: a reference and perhaps a mask, as its pipeline takes them.

Both are brought to the image's size as one: scaled until they cover it, and cut in the middle. What a mask keeps of its
reference the image has bit for bit; the model sees it only while it fills in the rest.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

STRENGTH = 0.8  # where nobody says: diffusers' own. What a mask uncovers is made anew.


@dataclass(frozen=True, slots=True)
class Start:
    """`strength` is more than 0 and, without a mask, less than 1: at 1 there is nothing left of a reference."""

    reference: Image.Image
    mask: Image.Image | None
    strength: float

    @property
    def arguments(self) -> dict[str, Any]:
        masked = {} if self.mask is None else {"mask_image": self.mask}
        return {"image": self.reference, "strength": self.strength} | masked

    def kept(self, picture: Any) -> Any:
        """The picture, (height, width, 3) of bytes, with what the mask keeps of the reference."""
        if self.mask is None:
            return picture
        return np.where(np.asarray(self.mask)[..., None] > 0, picture, np.asarray(self.reference))


def start_of(work: Mapping[str, Any]) -> Start | None:
    """None where the image starts from words alone. Raises ValueError of a mask without a reference."""
    size = work["width"], work["height"]
    pictures = {role: _opened(data) for role, data in _sources(work)}
    mask = pictures.get("mask")
    if "reference" not in pictures:
        if mask is not None:
            raise ValueError("a mask says what to keep of a reference, and there is none")
        return None
    strength = work["strength"] if work["strength"] is not None else STRENGTH if mask is None else 1.0
    if mask is None and strength == 1:
        return None
    reference = ImageOps.fit(pictures["reference"].convert("RGB"), size, Image.Resampling.LANCZOS)
    if mask is not None:
        fitted = ImageOps.fit(mask.convert("L"), size, Image.Resampling.NEAREST)
        mask = fitted.point([0 if level < 128 else 255 for level in range(256)])
    return Start(reference, mask, strength)


def said(work: Mapping[str, Any]) -> list[dict[str, str]]:
    """For the manifest."""
    return [{"role": role, "sha256": hashlib.sha256(data).hexdigest()} for role, data in _sources(work)]


def _sources(work: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Their bytes lie one behind the other."""
    start = 0
    for source in work["sources"]:
        end = start + source["bytes"]
        yield source["role"], work["pictures"][start:end]
        start = end


def _opened(data: bytes) -> Image.Image:
    """Intake wrote it, so it is a PNG of a size that was looked at."""
    return Image.open(io.BytesIO(data), formats=["PNG"])
