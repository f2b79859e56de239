"""What providers have no words for: known from what is asked alone, so that a job is not routed to who cannot make it.

Each provider's file refuses the same before anything is sent. Here nothing calls anybody, and no provider's library is
needed.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# Stability's shapes. Sizes are multiples of 64 px, so that 896 × 1088 px is what "4:5" makes.
RATIOS = ("16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
SAME = 0.04
REPLICATE_MODEL = re.compile(r"([\w.-]+)/([\w.-]+)(?::([0-9a-f]{64}))?", re.ASCII)
ROLES = ("reference", "mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A picture to start from; `size` in pixels, None where only its role is known yet."""

    role: str
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """As much of an image as decides whether a provider can be asked for it; width and height in pixels."""

    model: str
    width: int
    height: int
    sources: Sequence[Given] = ()

    @property
    def roles(self) -> Counter[str]:
        return Counter(source.role for source in self.sources)


def unable(kind: str, wanted: Wanted) -> str | None:
    """What backends of this kind cannot do for it, as in "stability cannot …"; None: nothing."""
    of_kind = KINDS.get(kind)
    return of_kind(wanted) if of_kind else None


def ratio_of(width: int, height: int) -> str | None:
    """The nearest of Stability's shapes; None where none is near."""

    def distance(ratio: str) -> float:
        wide, high = ratio.split(":")
        return abs(math.log(width * int(high) / (height * int(wide))))

    nearest = min(RATIOS, key=distance)
    return nearest if distance(nearest) <= SAME else None


def _openai(wanted: Wanted) -> str | None:
    roles = wanted.roles
    if wanted.sources and (not roles["reference"] or roles["mask"] > 1):
        return "edit without a picture, or with two masks"
    return _strange(roles)


def _stability(wanted: Wanted) -> str | None:
    if wanted.model == "core" and wanted.sources and not wanted.roles["mask"]:
        return "start `core` from a picture"
    return _one_picture(wanted) or _other_size(wanted) or _no_shape(wanted)


def _replicate(wanted: Wanted) -> str | None:
    if REPLICATE_MODEL.fullmatch(wanted.model) is None:
        return f"run {wanted.model!r}: its models are called owner/name"
    return _one_picture(wanted)


def _bedrock(wanted: Wanted) -> str | None:
    roles = wanted.roles
    if "stability." in wanted.model:
        return _one_picture(wanted) or _other_size(wanted) or _no_shape(wanted)
    if "amazon." not in wanted.model:
        return f"be asked for {wanted.model} by this release: only for Stability's and Amazon's"
    if roles["mask"] and (roles["reference"], roles["mask"]) != (1, 1):
        return "fill a mask of anything but one picture"
    return _strange(roles)


KINDS: Mapping[str, Callable[[Wanted], str | None]] = {
    "openai": _openai,
    "stability": _stability,
    "replicate": _replicate,
    "bedrock": _bedrock,
}


def _strange(roles: Counter[str]) -> str | None:
    return next((f"use a {role}" for role in roles if role not in ROLES), None)


def _one_picture(wanted: Wanted) -> str | None:
    roles = wanted.roles
    if twice := next((role for role in ROLES if roles[role] > 1), None):
        return f"take a second {twice}"
    if roles["mask"] and not roles["reference"]:
        return "fill a mask without a picture"
    return _strange(roles)


def _other_size(wanted: Wanted) -> str | None:
    for source in wanted.sources:
        if source.size is not None and source.size != (wanted.width, wanted.height):
            return f"make another size of a {source.size[0]} × {source.size[1]} px {source.role}"
    return None


def _no_shape(wanted: Wanted) -> str | None:
    """A picture to start from says the shape itself."""
    if wanted.sources or ratio_of(wanted.width, wanted.height):
        return None
    return f"make {wanted.width} × {wanted.height} px: it knows the shapes {', '.join(RATIOS)}"
