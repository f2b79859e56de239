"""What operations pass on: a window onto the decoded picture, and what is to become of it."""

from dataclasses import dataclass, replace
from typing import Self

from PIL import Image

from services.postprocess.geometry import Box, Point
from services.postprocess.imaging import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A window onto a picture, in that picture's pixels.

    `wanted` is the size the rendition declares; `exact` says whether an operation promised it, or it is only a bound.
    """

    picture: Picture
    window: Box
    focal: Point
    live: Box | None
    wanted: tuple[int, int]
    exact: bool = False

    @classmethod
    def of(
        cls,
        picture: Picture,
        *,
        wanted: tuple[int, int],
        focal: tuple[float, float] | None = None,
        live: tuple[float, float, float, float] | None = None,
    ) -> Self:
        """The whole picture; focal point and live area are given as fractions of it."""
        box = picture.box
        return cls(
            picture=picture,
            window=box,
            focal=Point(focal[0] * box.width, focal[1] * box.height) if focal else box.centre,
            live=Box(*live).scaled(box.width, box.height) if live else None,
            wanted=wanted,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Whole pixels in the window."""
        return max(1, round(self.window.width)), max(1, round(self.window.height))

    def pixels(self) -> Image.Image:
        return self.picture.render(self.window, *self.size)

    def rendered(self, width: int, height: int) -> "Frame":
        """The window as a picture of this size, focal point and live area moved with it."""
        if (width, height) == self.size and self.window == self.picture.box:
            return self
        x, y = width / self.window.width, height / self.window.height
        left, top = self.window.left, self.window.top
        picture = Picture(self.picture.render(self.window, width, height))
        return replace(
            self,
            picture=picture,
            window=picture.box,
            focal=Point((self.focal.x - left) * x, (self.focal.y - top) * y),
            live=self.live.within(self.window).moved(-left, -top).scaled(x, y) if self.live else None,
        )
