"""An order as a child reads it, and what it makes of it: plain data. What is written into one: ordering.py."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.postprocess.decoding import Facts
from shared.events import Measures, SourceType, Verdict
from shared.library.documents import Recipe


class Origin(BaseModel):
    """What is said in every published file of where it comes from; signed where there are `certificates` (PEM).

    Of a draft nothing is signed: it leaves the room that signing would take, and comes out as it would be signed.
    `manifest` and `recipes` are SHA-256: of what the image can be made again from, and of each channel's recipe.
    """

    model_config = ConfigDict(frozen=True)

    source_type: SourceType
    alt_text: str | None = None
    caption: str | None = None
    manifest: str
    recipes: dict[str, str]
    certificates: str | None = None
    algorithm: str = ""
    anchors: str = ""
    is_draft: bool = False


class Order(BaseModel):
    """What is to be made of one original: recipes by channel, and the longest sides of the review proxies.

    `texts`, `locale` and `palette` are what overlays may say and in which colours. `inputs` names the pictures that
    come with the original, in order: `mask`, `photo` of the approved product, and `mark/NAME` for the brand's own;
    `missing` says of those that should and do not, why.
    `checks` are those to be made beside the usual ones, `limits` take the place of the shipped ones. `reserve` is,
    by channel and rendition, what of a byte budget belongs to what is said of the file.
    """

    model_config = ConfigDict(frozen=True)

    recipes: dict[str, Recipe]
    proxies: tuple[int, ...] = ()
    focal: tuple[float, float] | None = None
    live_area: tuple[float, float, float, float] | None = None
    texts: dict[str, str] = {}
    locale: str = "en"
    palette: dict[str, str] = {}
    inputs: tuple[str, ...] = ()
    missing: dict[str, str] = {}
    asset: UUID | None = None
    origin: Origin | None = None
    reserve: dict[str, dict[str, int]] = {}
    checks: tuple[str, ...] = ()
    limits: dict[str, float] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivative:
    """One file that was made, with everything that made it. `channel` is None for a review proxy.

    The manifest names every operation that was asked for, `changed_by` those that changed the picture: what is claimed.
    """

    channel: str | None
    rendition: str
    data: bytes
    facts: Facts
    wanted_type: str
    wanted: tuple[int, int]
    exact: bool
    max_bytes: int | None
    manifest: dict[str, Any]
    verdicts: tuple[Verdict, ...] = ()
    unsigned_sha256: str | None = None
    changed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Developed:
    """`original` is what the original's own bytes say of themselves; `unsigned` why nothing could be signed."""

    original: Facts
    derivatives: list[Derivative]
    versions: dict[str, str]
    checks: list[Verdict]
    measures: Measures
    unsigned: str | None = None
