"""A child process that decodes one picture of a stranger's for `calotype mark read`: bytes in, its brightness out.

It has a memory limit, may write no file, and never sees the key; see `shared/marking.py` for what is read from it.
"""

import io
import resource
import sys

import numpy as np
from PIL import Image

from shared.marking import luma
from shared.srgb import Undecodable, decoded

MEMORY = 1024 * 1024 * 1024
MAX_PIXELS = 40_000_000
DECODERS = ("PNG", "JPEG", "WEBP", "AVIF")


def main() -> None:
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    Image.MAX_IMAGE_PIXELS = None  # which would only warn; ours refuses
    try:
        image = Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=DECODERS)
    except Exception:  # noqa: BLE001  # a decoder fed by strangers raises anything
        sys.exit("it is no PNG, JPEG, WebP or AVIF")
    if image.width * image.height > MAX_PIXELS:
        sys.exit(f"it has more than {MAX_PIXELS // 1_000_000} million pixels")
    try:
        pixels = np.asarray(decoded(image))
    except Undecodable as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(luma(pixels).tobytes())


if __name__ == "__main__":
    main()
