"""A child process that decodes one picture of a stranger's for `calotype mark read`: bytes in, its brightness out.

It has limits of memory and of processor time, may write no file, and never sees the key; see `shared/marking.py` for
what is read from it.
"""

import io
import resource
import sys

import numpy as np
from PIL import Image

from shared.marking import luma
from shared.pictures import Limits, Refused, clock, is_avif
from shared.pictures.opening import opened
from shared.pictures.size import refuse_too_large
from shared.pictures.words import damaged
from shared.srgb import decoded

MEMORY = 1024 * 1024 * 1024
SECONDS = 30  # of processor time
LIMITS = Limits()


def main() -> None:
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    data = sys.stdin.buffer.read()
    try:
        with clock.decoding(SECONDS):
            pixels = np.asarray(decoded(_avif(data) if is_avif(data) else opened(data, LIMITS)))
    except Refused as refused:
        is_foreign = refused.code == "unsupported_media_type"
        sys.exit("it is no PNG, JPEG, WebP or AVIF" if is_foreign else refused.what)
    sys.stdout.buffer.write(luma(pixels).tobytes())


def _avif(data: bytes) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # which would only warn; ours refuses
    try:
        image = Image.open(io.BytesIO(data), formats=["AVIF"])
    except Exception as error:  # a decoder fed by strangers raises anything
        raise damaged("its header cannot be read") from error
    refuse_too_large(image.width, image.height, LIMITS)
    return image


if __name__ == "__main__":
    main()
