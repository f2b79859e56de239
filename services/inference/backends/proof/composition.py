"""What stands where in a scene: product, plinth, props, the shape behind, and the light that falls on them."""

from dataclasses import dataclass

from services.inference.backends.proof import forms, furniture, props
from services.inference.backends.proof.backdrop import Shape
from services.inference.backends.proof.body import Body
from services.inference.backends.proof.camera import Camera, Stand, frame, stand
from services.inference.backends.proof.light import light
from services.inference.backends.proof.scene import Scene, stream
from services.inference.backends.proof.shade import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """`eye` is the height on the product that people look at, in world units above its foot."""

    room: Room
    product: Body
    props: tuple[Body, ...]
    shape: Shape
    eye: float

    @property
    def focal(self) -> tuple[float, float]:
        """Column and row, 0..1."""
        x, y, z = self.product.at
        camera = self.room.camera
        column, row = camera.project(x, y + self.eye, z)
        return column / camera.width, row / camera.height

    @property
    def flame(self) -> tuple[float, float, float] | None:
        """The tip of the product's wick, where it has one."""
        x, y, z = self.product.at
        embers = [piece.ember for piece in self.product.pieces if piece.ember]
        return (x, y + embers[0] * self.product.size, z) if embers else None

    def groups(self) -> list[list[Body]]:
        """Bodies that cast their shadow together, being about as deep in the room."""
        product = self.product
        under = [body for body in self.props if body.at[0] == product.at[0] and body.at[2] == product.at[2]]
        behind = [body for body in self.props if body.at[2] < product.at[2]]
        before = sorted((body for body in self.props if body.at[2] > product.at[2]), key=lambda body: body.at[2])
        return [group for group in ([product, *under], behind, before[:2], before[2:]) if group]


def compose(scene: Scene, *, seed: int, width: int, height: int) -> Composition:
    tall = forms.height(scene.product)
    camera = frame(scene, width=width, height=height, tall=tall)
    unit, place = round(camera.unit, 3), stand(scene)
    form = forms.build(scene.product, unit=round(camera.unit * place.size, 3), side=scene.side)
    around = [body for body in props.around(scene, place, seed=seed, unit=unit) if _clear(camera, body)]
    lift = 0.0
    if place.plinth:
        radius, lift = place.plinth
        around.append(props.plinth(radius, lift, props.plinth_colour(scene), unit, (place.x, 0.0, place.z)))
    product = Body(
        pieces=form.pieces,
        at=(place.x, lift, place.z),
        wide=form.radius * place.size,
        deep=form.radius * form.squat * place.size,
        height=tall * place.size,
        size=place.size,
        product=scene.product,
    )
    return Composition(
        room=Room(camera=camera, light=light(scene, seed=seed, x=place.x, z=place.z)),
        product=product,
        props=tuple(around),
        shape=_shape(scene, place, seed=seed),
        eye=form.eye * place.size,
    )


def _clear(camera: Camera, body: Body) -> bool:
    """Whether a prop leaves the furniture alone."""
    return camera.project(*body.at)[1] < camera.height * (1 - 1.5 * furniture.OUTER)


def _shape(scene: Scene, place: Stand, *, seed: int) -> Shape:
    """An arch behind a tile, a disc on its edge behind the others; reversed, it moves to the other side."""
    drawn = [float(part) for part in stream(seed, "shape").uniform(-1, 1, 2)]
    if scene.layout == "tile":
        x = place.x - (0.15 * scene.side if scene.reversed else 0.0) + 0.012 * drawn[0]
        return Shape(kind="arch", x=x, y=0.245, z=0.34, radius=0.275, thick=0.05)
    if scene.layout == "lifestyle":
        x = place.x - (0.235 + 0.02 * drawn[0]) * (-1.0 if scene.reversed else 1.0)
        radius = 0.262 + 0.012 * drawn[1]
        return Shape(kind="disc", x=x, y=radius, z=0.10, radius=radius, thick=0.05)
    inwards = (-0.20 if place.x >= 0 else 0.20) if scene.reversed else 0.0
    return Shape(kind="disc", x=place.x + inwards + 0.03 * drawn[0], y=0.31, z=0.12, radius=0.31, thick=0.05)
