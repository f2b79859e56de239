"""The pictures that go with an original, decoded. One that is refused is told of like one that is missing.

Imported by the child process only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.postprocess.decoding import decode, decode_mask
from services.postprocess.geometry import fit_inside
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels
from shared.events import Verdict
from shared.pictures import Limits, Refused

MASK, PHOTO, MARK = "mask", "photo", "mark/"
# Checks see a product at half of it; of 24 MP their planes take more than a child may have.
PHOTO_SIDE = 1024


@dataclass(slots=True)
class Beside:
    """`marks` are by their names in the brand; `absent` says why an input of the order is not here."""

    mask: Picture | None = None
    photo: Pixels | None = None
    marks: dict[str, Picture] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def unmasked(self) -> list[Verdict]:
        """A person is told that the product's shape is not the one that came with the image."""
        if MASK not in self.absent:
            return []
        sentence = f"The shape that came with the image {self.absent[MASK]}: the files are made without it."
        return [Verdict(check="cut-out", ok=False, blocking=True, sentence=sentence, code="other")]


def beside(inputs: Mapping[str, bytes], missing: Mapping[str, str], limits: Limits) -> Beside:
    found = Beside(absent=dict(missing))
    for name, data in inputs.items():
        try:
            _add(found, name, data, limits)
        except Refused as refused:
            found.absent[name] = f"is refused as {refused.code}: {refused.what}"
    return found


def _add(found: Beside, name: str, data: bytes, limits: Limits) -> None:
    if name == MASK:
        found.mask = Picture(decode_mask(data, limits))
    elif name == PHOTO:
        found.photo = _reduced(decode(data, limits)[0])
    elif name.startswith(MARK):
        found.marks[name.removeprefix(MARK)] = decode(data, limits)[0]


def _reduced(photo: Picture) -> Pixels:
    if max(photo.size) <= PHOTO_SIDE:
        return photo.full
    return photo.render(photo.box, *fit_inside(*photo.size, within=(PHOTO_SIDE, PHOTO_SIDE)))
