"""What a recipe may say to each of our operations: checked where a recipe is written, and where it is run.

An operation from outside this tree has parameters of its own, which only who runs it knows.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# `start` is where the locale begins to read: left, and in Arabic right.
Anchor = Literal[
    "top-left",
    "top",
    "top-right",
    "left",
    "centre",
    "right",
    "bottom-left",
    "bottom",
    "bottom-right",
    "top-start",
    "start",
    "bottom-start",
    "top-end",
    "end",
    "bottom-end",
]
# The request's own words, or a recipe's by locale: "en-GB", else "en", else "default"; where none is meant, no text.
Words = Literal["headline", "product"] | dict[str, Annotated[str, Field(max_length=300)]]
# A colour, a name of the brand's palette, or whichever stands out most.
Paint = Annotated[str, Field(pattern=r"^(auto|#[0-9A-Fa-f]{6}|[a-z][a-z0-9-]*)$")]
# Families by locale as in `Words`, tried in order for each word.
Families = dict[str, list[str]]
Weight = Annotated[int, Field(ge=100, le=900)]


def parse_aspect(text: str) -> float:
    """Width over height of an aspect written like 4:5.

    Raises ValueError for anything but two positive numbers.
    """
    width, _, height = text.partition(":")
    try:
        ratio = float(width) / float(height)
    except (ValueError, ZeroDivisionError):
        ratio = 0.0
    if not 0.01 <= ratio <= 100:
        raise ValueError(f"{text!r} is no aspect ratio: write width:height, 4:5 for instance")
    return ratio


def _checked(aspect: str) -> str:
    parse_aspect(aspect)
    return aspect


class Parameters(BaseModel):
    """What a recipe may say to one operation. Unknown names are refused: recipes are written by people."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Badge(Parameters):
    """Either `text` or a `mark` of the brand. `height` and the most `width` are shares of the safe area less `margin`.

    `fill` is the pill's colour; without a palette name or #RRGGBB it stands out from the ground.
    """

    text: Words | None = None
    mark: str | None = None
    anchor: Anchor = "top-start"
    height: float = Field(default=0.09, gt=0, le=1)
    width: float = Field(default=0.5, gt=0, le=1)
    margin: float = Field(default=0.06, ge=0, lt=0.5)
    least: int = Field(default=11, ge=6, le=500)
    weight: Weight = 500
    fonts: Families = Field(default_factory=dict)
    fill: Paint = "auto"
    colour: Paint = "auto"
    contrast: float = Field(default=4.5, ge=1, le=21)


class Canvas(Parameters):
    """`background`: #RRGGBB, the name of one of the brand's colours, or `blur` for the picture itself, out of focus.

    `fill`: what the product takes of the canvas along its tighter side, at the `anchor`; without it the picture stays
    as it is cut and takes all of the canvas that its shape allows. `enlarge`: how much larger than it came.
    `shadow`: how dark the ground is right under the product.
    """

    background: Annotated[str, Field(pattern=r"^(#[0-9A-Fa-f]{6}|[a-z0-9][a-z0-9-]{0,79})$")] = "#FFFFFF"
    fill: float | None = Field(default=None, gt=0, le=1)
    anchor: Anchor = "centre"
    enlarge: float = Field(default=1.0, ge=1, le=4)
    shadow: float = Field(default=0.0, ge=0, le=1)


class Colour(Parameters):
    """Which colour space.

    `keep` leaves the pixels as the original has them, with its own profile; it and `display-p3` come before any step
    that needs pixels, or only what sRGB holds is left to convert. A file in sRGB may go without its profile: whoever
    finds none assumes it.
    """

    profile: Literal["srgb", "display-p3", "keep"] = "srgb"
    embed: bool = Field(default=True, description="Whether a file in sRGB says so; others always do")


class Crop(Parameters):
    """`aspect` as width:height; without one, that of the rendition's own size.

    `fill` closes in: the live area (the product) takes this share of the crop along its tighter side. Where no live
    area is known, the crop is as wide as it can be.
    """

    aspect: Annotated[str, AfterValidator(_checked)] | None = None
    fill: float | None = Field(default=None, gt=0, le=1)


class CutOut(Parameters):
    """`by`: `shape` takes only what came with the image, `found` only what is found in it, `best` the former if any."""

    by: Literal["best", "shape", "found"] = "best"
    least: float = Field(default=0.01, ge=0, le=1, description="Share of the picture below which a person looks")


class Logo(Parameters):
    """`mark` by its name in the brand; `on_dark` the one for dark grounds: whichever stands out more is taken.

    It goes into `width` by `height`, shares of the safe area less its `margin`, and is never enlarged.
    """

    mark: str = "logo"
    on_dark: str | None = None
    anchor: Anchor = "top-end"
    width: float = Field(default=0.2, gt=0, le=1)
    height: float = Field(default=0.12, gt=0, le=1)
    margin: float = Field(default=0.06, ge=0, lt=0.5)
    opacity: float = Field(default=1.0, gt=0, le=1)


class Mark(Parameters):
    """There is nothing to choose: who reads knows only the key."""


class Pad(Parameters):
    """`background`: a colour, or `edge` for the mean of the picture's outermost pixels.

    `fill`: the largest share of the canvas, along either side, that the picture may take.
    """

    background: Annotated[str, Field(pattern=r"^(edge|#[0-9A-Fa-f]{6})$")] = "#FFFFFF"
    fill: float = Field(default=1.0, gt=0, le=1)
    enlarge: float = Field(default=1.0, ge=1, le=4)


class Resize(Parameters):
    """`inside` keeps the aspect; `exact` promises the rendition's size and expects its aspect (crop first).

    `enlarge` is how much larger than the original a picture may become: at 1, what is too small stays small and the
    dimensions check says so.
    """

    mode: Literal["inside", "exact"] = "exact"
    enlarge: float = Field(default=1.0, ge=1, le=4)


class Sharpen(Parameters):
    """`amount` of the difference to the blurred luma is added; without one it follows the size.

    `radius` of the blur in pixels (its sigma). What differs by no more than `threshold` of 255 is grain and stays.
    """

    amount: float | None = Field(default=None, ge=0, le=3)
    radius: float = Field(default=0.7, gt=0, le=10)
    threshold: int = Field(default=2, ge=0, le=64)


class Written(Parameters):
    """What is written, and where; `otherwise` where the request has no such text.

    The box takes `width` and `height` as shares of the safe area less its `margin`, and stands at the `anchor`. Sizes:
    `largest` as a share of the picture's shorter side, `least` in pixels; what does not fit at that is left out.
    `start` is the side where the text begins to be read. `contrast`: WCAG 2.2 asks 4.5 of small text, 3 of large;
    `scrim` darkens or lightens the ground as far as that takes. The product is left free unless `over_product`.
    """

    text: Words = "headline"
    otherwise: Words | None = None
    anchor: Anchor = "start"
    width: float = Field(default=0.5, gt=0, le=1)
    height: float = Field(default=0.6, gt=0, le=1)
    margin: float = Field(default=0.06, ge=0, lt=0.5)
    largest: float = Field(default=0.1, gt=0, le=1)
    least: int = Field(default=14, ge=6, le=500)
    lines: int = Field(default=3, ge=1, le=12)
    leading: float | None = Field(default=None, ge=0.8, le=3)
    align: Literal["start", "centre", "end"] = "start"
    weight: Weight = 500
    fonts: Families = Field(default_factory=dict)
    colour: Paint = "auto"
    contrast: float = Field(default=4.5, ge=1, le=21)
    scrim: Literal["none", "needed"] = "none"
    over_product: bool = False


class Upscale(Parameters):
    """`factor`: the most it may be enlarged to reach the rendition's size. What is large enough stays as it is."""

    factor: float = Field(default=2.0, gt=1, le=4)


class Watermark(Parameters):
    """Either `text` or a `mark` of the brand, `size` of the picture's shorter side high, as strong as `opacity`.

    `repeated` covers the whole picture, so that no crop is free of it; else it stands at the `anchor`, in the safe
    area.
    """

    text: Words | None = None
    mark: str | None = None
    repeated: bool = True
    anchor: Anchor = "bottom-end"
    size: float = Field(default=0.05, ge=0.01, le=1)
    margin: float = Field(default=0.04, ge=0, lt=0.5)
    opacity: float = Field(default=0.2, gt=0, le=1)
    weight: Weight = 500
    fonts: Families = Field(default_factory=dict)
    colour: Paint = "auto"


PARAMETERS: Mapping[str, type[Parameters]] = {
    "badge": Badge,
    "canvas": Canvas,
    "colour": Colour,
    "crop": Crop,
    "cut-out": CutOut,
    "logo": Logo,
    "mark": Mark,
    "pad": Pad,
    "resize": Resize,
    "sharpen": Sharpen,
    "text": Written,
    "upscale": Upscale,
    "watermark": Watermark,
}
# Those that need no pixels: what comes after them still has the original's own.
WITHOUT_PIXELS = frozenset({"crop", "colour"})
# Where a step names marks of the brand.
MARKS = ("mark", "on_dark")


def takes_from_brand(op: str, params: Mapping[str, Any]) -> bool:
    """Whether a step names a mark or a colour of the brand's."""
    colours = [params.get(place) for place in ("background", "fill", "colour")]
    named = [each for each in colours if isinstance(each, str) and not each.startswith("#")]
    marks = any(params.get(place) for place in MARKS)
    return op == "logo" or marks or any(each not in {"auto", "blur", "edge"} for each in named)
