"""Proof furniture in the outer 4 %: crop marks, swatches, template, seed and the word PROOF."""

import numpy as np
from PIL import Image, ImageDraw

from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.label import font
from services.inference.backends.proof.scene import Scene
from shared import fonts

OUTER = 0.04
DARK, PALE = (36, 32, 29), (242, 236, 224)


def draw(pixels: Array, scene: Scene, *, seed: int) -> None:
    """Over the finished picture, in place."""
    height, width = pixels.shape[:2]
    edge = max(4, round(min(width, height) * OUTER))
    _strip(pixels[:edge], scene, edge, seed=None)
    _strip(pixels[height - edge :], scene, edge, seed=seed)


def _strip(strip: Array, scene: Scene, edge: int, *, seed: int | None) -> None:
    image = Image.fromarray(strip)
    over = Image.new("RGBA", image.size)
    pen = ImageDraw.Draw(over)
    width, height = image.size
    ink = (*(PALE if float(np.mean(strip)) < 118 else DARK), 190)
    _corners(pen, width, height, edge, ink, top=seed is None)
    if seed is not None:
        _line(pen, scene, width, height, edge, ink, seed)
    strip[:] = np.asarray(Image.alpha_composite(image.convert("RGBA"), over).convert("RGB"))


def _corners(pen: ImageDraw.ImageDraw, width: int, height: int, edge: int, ink: tuple[int, ...], *, top: bool) -> None:
    inset, long, hair = round(edge * 0.42), round(edge * 0.40), max(1, round(edge / 36))
    y = inset if top else height - 1 - inset
    for x, way in ((inset, 1), (width - 1 - inset, -1)):
        pen.line((x, y, x + way * long, y), fill=ink, width=hair)
        pen.line((x, y, x, y + (long if top else -long)), fill=ink, width=hair)


def _line(
    pen: ImageDraw.ImageDraw, scene: Scene, width: int, height: int, edge: int, ink: tuple[int, ...], seed: int
) -> None:
    face = font(fonts.MONO, edge * 0.31)
    middle, x = height - 1 - edge * 0.62, round(edge * 1.15)
    side = max(3, round(edge * 0.30))
    for swatch in scene.swatches:
        pen.rectangle((x, round(middle - side / 2), x + side - 1, round(middle - side / 2) + side - 1), fill=swatch)
        x += side
    words = "   ".join(
        word for word in (scene.template, f"seed {seed}", scene.product.sku or scene.product.name) if word
    )
    right = width - edge * 1.15
    proof = face.getlength("PROOF")
    room = right - proof - edge - (x + edge * 0.4)
    while words and face.getlength(words) > room:
        words = words[:-1]
    pen.text((x + edge * 0.4, middle), words, font=face, fill=ink, anchor="lm")
    pen.text((right, middle), "PROOF", font=face, fill=ink, anchor="rm")
