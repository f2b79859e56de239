"""Which form a product has: the eight of the catalogue, and a plain carton for every other, never a guess."""

from collections.abc import Callable

from services.inference.backends.proof.bottles import amber_bottle, diffuser, pump
from services.inference.backends.proof.boxes import boxed_soap, carton
from services.inference.backends.proof.pots import candle, jar, mug, tin
from services.inference.backends.proof.scene import Product
from services.inference.backends.proof.ware import Form

# Given the product, pixels per world unit, and the side the light stands on.
FORMS: dict[str, Callable[[Product, float, int], Form]] = {
    "amber bottle": amber_bottle,
    "boxed soap": boxed_soap,
    "candle": candle,
    "diffuser": diffuser,
    "jar": jar,
    "mug": mug,
    "pump": pump,
    "tin": tin,
}
# How close a close crop comes depends on it, and that decides at which size a form is built.
HEIGHTS = {
    "amber bottle": 0.517,
    "boxed soap": 0.230,
    "candle": 0.385,
    "diffuser": 0.640,
    "jar": 0.268,
    "mug": 0.232,
    "pump": 0.517,
    "tin": 0.322,
}
CARTON_HEIGHT = 0.300


def build(product: Product, *, unit: float, side: int) -> Form:
    return FORMS.get(_name(product), carton)(product, unit, side)


def height(product: Product) -> float:
    return HEIGHTS.get(_name(product), CARTON_HEIGHT)


def _name(product: Product) -> str:
    return " ".join(product.form.replace("-", " ").replace("_", " ").split())
