"""What a request builds on: the pictures that it starts from, and the asset that it is to be more like. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from uuid import UUID

from shared.events import ImageRequested, Problem, SourceRole, SourceUse
from shared.library.asks import Resolved, resolve
from shared.library.offers import Offers
from shared.library.variables import Findings

NAME_ONE = "name an asset of this workspace (GET /v1/assets), or leave parent_asset_id out"
ADD_ONE = "add the picture first (`calotype source add FILE`, or POST /v1/sources) and name the source_id it gives"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One picture that was added; width and height in pixels."""

    source_id: UUID
    sha256: str
    key: str
    media_type: str
    width: int
    height: int

    def used_as(self, role: SourceRole) -> SourceUse:
        return SourceUse(role=role, **asdict(self))


Sources = Mapping[UUID, Source]


def resolve_all(
    asked: ImageRequested, offers: Offers, known: Sources, parents: Collection[UUID] = ()
) -> Resolved | list[Problem]:
    """Everything the ask names, found; or every reason why it cannot be.

    A source that is not `known` is missing, and so is an asset to be more like that is not of `parents`.
    """
    resolved = resolve(asked, offers)
    if not asked.sources and asked.parent_asset_id is None:
        return resolved
    found = Findings()
    used = _used(asked, known, found)
    if asked.parent_asset_id is not None and asked.parent_asset_id not in parents:
        found.add("missing_parent", f"there is no asset {asked.parent_asset_id} here", "parent_asset_id", NAME_ONE)
    if isinstance(resolved, list):
        return resolved + found.problems
    return found.problems or replace(resolved, sources=used)


def _used(asked: ImageRequested, known: Sources, found: Findings) -> list[SourceUse]:
    used = []
    for place, named in enumerate(asked.sources):
        source = known.get(named.source)
        if source is None:
            found.add("missing_source", f"there is no source {named.source} here", f"sources[{place}].source", ADD_ONE)
        else:
            used.append(source.used_as(SourceRole(named.role)))
    mask, reference = (_of(role, used) for role in (SourceRole.MASK, SourceRole.REFERENCE))
    if mask and reference and (mask.width, mask.height) != (reference.width, reference.height):
        place = next(place for place, named in enumerate(asked.sources) if named.role == "mask")
        size = f"{reference.width} × {reference.height} pixels"
        what = f"the mask has {mask.width} × {mask.height} pixels, its reference {size}"
        found.add("wrong_size", what, f"sources[{place}]", f"add a mask of {size}")
    return used


def _of(role: SourceRole, uses: Sequence[SourceUse]) -> SourceUse | None:
    return next((use for use in uses if use.role is role), None)
