"""What operations pass on: a window onto the decoded picture, and what is to become of it."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from services.postprocess.geometry import Box, Point
from services.postprocess.operations.materials import NO_MATERIALS, Materials
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels
from shared.events import Verdict

BAND = 128  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A window onto a picture, in that picture's pixels.

    `wanted` is the size the rendition declares; `exact` says whether an operation promised it, or it is only a bound.
    `focal` is where to look if anybody said; `live` is the product's box and `mask` its shape, of the picture's own
    size. `safe` is the part of the rendition that overlays keep to: left, top, right, bottom as fractions of it.
    """

    picture: Picture
    window: Box
    focal: Point | None
    live: Box | None
    wanted: tuple[int, int]
    exact: bool = False
    mask: Picture | None = None
    safe: tuple[float, float, float, float] | None = None
    materials: Materials = NO_MATERIALS
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        picture: Picture,
        *,
        wanted: tuple[int, int],
        focal: tuple[float, float] | None = None,
        live: tuple[float, float, float, float] | None = None,
        mask: Picture | None = None,
        safe: tuple[float, float, float, float] | None = None,
        materials: Materials = NO_MATERIALS,
    ) -> Self:
        """The whole picture; focal point and live area are given as fractions of it."""
        box = picture.box
        return cls(
            picture=picture,
            window=box,
            focal=Point(focal[0] * box.width, focal[1] * box.height) if focal else None,
            live=Box(*live).scaled(box.width, box.height) if live else extent(mask.full) if mask else None,
            wanted=wanted,
            mask=mask,
            safe=safe,
            materials=materials,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Whole pixels in the window."""
        return max(1, round(self.window.width)), max(1, round(self.window.height))

    def pixels(self) -> Pixels:
        """The window as it looks now. May be shared with others: who changes it copies it first."""
        return self.picture.render(self.window, *self.size)

    def looks_like(self, other: "Frame") -> bool:
        """Whether nothing that is seen differs; another picture of the same pixels is the same."""
        if self.picture is other.picture:
            return self.window == other.window
        if self.size != other.size or self.picture.profile != other.picture.profile:
            return False
        one, two = self.pixels(), other.pixels()
        if one.shape != two.shape:
            return False
        # Some rows at a time: most differ in the first of them, and all at once would take as much memory again.
        return all(np.array_equal(one[top : top + BAND], two[top : top + BAND]) for top in range(0, len(one), BAND))

    def rendered(self, width: int, height: int) -> "Frame":
        """The window as a picture of this size, focal point, live area and mask moved with it."""
        if (width, height) == self.size and self.window == self.picture.box:
            return self
        x, y = width / self.window.width, height / self.window.height
        left, top = self.window.left, self.window.top
        picture = Picture(self.picture.render(self.window, width, height), self.picture.profile)
        return replace(
            self,
            picture=picture,
            window=picture.box,
            focal=Point((self.focal.x - left) * x, (self.focal.y - top) * y) if self.focal else None,
            live=self.live.within(self.window).moved(-left, -top).scaled(x, y) if self.live else None,
            mask=Picture(self.mask.render(self.window, width, height)) if self.mask else None,
        )

    def whole(self) -> "Frame":
        """The window as a picture of its own, at the size it has: what an operation that needs pixels begins with."""
        return self.rendered(*self.size)

    def replaced(self, pixels: Pixels) -> "Frame":
        """Other pixels of the same size in the same place; only of a frame that is `whole`."""
        picture = Picture(pixels, self.picture.profile)
        return replace(self, picture=picture, window=picture.box)

    def noted(self, name: str, how: str) -> "Frame":
        """The manifest says how an operation did it, where there was a choice."""
        return replace(self, notes=(*self.notes, (name, how)))

    def judged(self, verdict: Verdict) -> "Frame":
        """A reviewer is told."""
        return replace(self, verdicts=(*self.verdicts, verdict))

    def left_out(self, what: str, reason: Exception, *, check: str) -> "Frame":
        """The frame as it is: a person is told, whatever the rubric says, for something that was asked is not there."""
        sentence = f"{what} is left out: {reason}."
        return self.judged(Verdict(check=check, ok=False, blocking=True, sentence=sentence, code="other"))


def extent(mask: Pixels) -> Box | None:
    """The smallest box around what the mask shows; None where it shows nothing."""
    rows, columns = np.flatnonzero(mask.max(axis=1) > 127), np.flatnonzero(mask.max(axis=0) > 127)
    if not len(rows):
        return None
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
