"""What stands in a scene: bodies made of pieces, each one surface with its materials."""

from dataclasses import dataclass

from services.inference.backends.proof.label import Label
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Product
from services.inference.backends.proof.shadow import Contact
from services.inference.backends.proof.surface import Surface

# Share of light kept at a height, interpolated between: (height, red, green, blue).
Tones = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One solid: `up` and `across` place its foot, `materials` go by face; the rest is how light is kept on it.

    `bands` are ribs round a lathe, `grain` the fibres of turned wood, `specks` a stone's or a card's (`spread` texels
    to a unit across), `veins` a leaf's. `ember` is the height of a flame inside it. A `flat` piece lies: its `h` runs
    along it and is no height.
    """

    surface: Surface
    materials: tuple[Material, ...]
    up: float = 0.0
    across: float = 0.0
    label: Label | None = None
    tones: Tones = ()
    bands: float = 0.0
    grain: float = 0.0
    specks: float = 0.0
    spread: float = 20.0
    veins: float = 0.0
    ember: float = 0.0
    flat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Pieces standing at `at`; their own lengths count `size` times. `wide`, `deep`, `height` darken the ground."""

    pieces: tuple[Piece, ...]
    at: tuple[float, float, float]
    wide: float
    deep: float
    height: float
    size: float = 1.0
    product: Product | None = None

    @property
    def lies(self) -> bool:
        """Flat on the table: it has no foot, and darkens what is right under it."""
        return self.at[1] == 0 and not self.wide

    @property
    def contact(self) -> Contact:
        x, y, z = self.at
        return Contact(x=x, y=y, z=z, wide=self.wide, deep=self.deep, height=self.height)
