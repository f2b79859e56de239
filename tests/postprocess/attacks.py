"""What happens to pictures on their way through the world."""

import io

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from tests.postprocess.photos import Pixels


def jpeg(pixels: Pixels, quality: int = 75) -> Pixels:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(data))


def webp(pixels: Pixels, quality: int = 80) -> Pixels:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", quality=quality, method=0)
    return np.asarray(Image.open(out).convert("RGB"))


def half(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    return np.asarray(cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA))


def flatter(pixels: Pixels) -> Pixels:
    """A tenth less contrast, and brighter."""
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=0.9, beta=15))


ATTACKS = {"jpeg 75": jpeg, "half size": half, "webp 80": webp, "brighter and flatter": flatter}
