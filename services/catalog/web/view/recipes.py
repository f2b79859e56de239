"""Two versions of a recipe beside each other."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeQuery:
    """`first` and `second` None: the version before the newest, and the newest."""

    name: str
    first: int | None = None
    second: int | None = None
    asset: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How it is written, or one operation with its parameters; `same` where the other version has it too."""

    words: str
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One version's file. `src` is the picture as that version makes it of the asset, `said` where its facts are."""

    label: str
    width: int
    height: int
    lines: tuple[Line, ...]
    src: str | None = None
    said: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionPair:
    """A file as both versions make it; None where a version has none of that name."""

    name: str
    first: Side | None
    second: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipePair:
    """Two versions of a recipe; `versions` are all there are, the newest first."""

    name: str
    channel: str
    versions: tuple[int, ...]
    first: int
    second: int
    renditions: tuple[RenditionPair, ...]
    sources: tuple[str, ...]
    asset: UUID | None = None
    asset_name: str | None = None
