"""The brand's own pictures, fitted into a box. Shared by the overlays."""

import numpy as np

from services.postprocess.contrast import light
from services.postprocess.geometry import fit_inside
from services.postprocess.operations.layout import Area
from services.postprocess.operations.materials import Materials
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels


class NoMark(Exception):
    """The brand has no such mark, or its picture is not to be had; the message says which."""


def mark_of(materials: Materials, name: str) -> Picture:
    """Raises NoMark."""
    if why := materials.absent.get(f"mark/{name}"):
        raise NoMark(f"the picture of the brand's mark {name} {why}")
    if name not in materials.marks:
        raise NoMark(
            f"the brand has no mark {name}: add the picture as a source and name its hash in the brand's marks"
        )
    return materials.marks[name]


def fitted(mark: Picture, room: tuple[int, int]) -> Pixels:
    """The mark as large as the room allows, and no larger than it is: enlarged, a logo is soft."""
    width, height = fit_inside(*mark.size, within=(max(1, room[0]), max(1, room[1])))
    return mark.render(mark.box, width, height)


def stands_out(mark: Pixels, pixels: Pixels, place: Area) -> float:
    """The mark's own light against that of the ground it covers, as a contrast from 1 to 21; means of both."""
    seen = mark[..., 3] > 127 if mark.shape[2] == 4 else np.ones(mark.shape[:2], dtype=bool)
    under = pixels[place.top : place.bottom, place.left : place.right]
    if not seen.any() or under.shape[:2] != seen.shape:
        return 1.0
    own, ground = (float(light(each[seen][None, :, :3]).mean()) + 0.05 for each in (mark, under))
    return max(own, ground) / min(own, ground)
