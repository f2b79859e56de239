"""Files that say beside their pixels who made them, where and with what, in every place their formats have for it."""

import zlib

from PIL import Image, ImageCms

from tests.postprocess.corpus import jpegs, pngs, webps
from tests.postprocess.corpus.cases import ramp
from tests.postprocess.corpus.chunks import (
    chunk,
    exif,
    extended,
    of_webp,
    riff,
    segment,
    webp_of,
    with_chunks,
    with_segments,
)
from tests.postprocess.pictures import read, written

SECRET = b"Secret Camera"
GPS = b"GPSLatitude"
# In a file as they are, in UTF-16 as profiles have it, and after unpacking.
SECRETS = frozenset({SECRET, GPS})


def told() -> dict[str, bytes]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    named = profile.replace("sRGB".encode("utf-16-be"), "Secr".encode("utf-16-be")) + SECRET
    named = len(named).to_bytes(4, "big") + named[4:]
    block, xmp = exif(6) + GPS, b"<x:xmpmeta><exif:GPSLatitude>Secret Camera</exif:GPSLatitude></x:xmpmeta>"
    (kind, body), *_ = of_webp(webps.small())
    return {
        "png": with_chunks(
            pngs.small(),
            chunk(b"eXIf", block),
            chunk(b"iCCP", SECRET + b"\0\0" + zlib.compress(named)),
            chunk(b"tEXt", b"Author\0" + SECRET),
            chunk(b"zTXt", b"Comment\0\0" + zlib.compress(SECRET)),
            chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
            chunk(b"caBX", SECRET),
        )
        + SECRET,
        "jpeg": with_segments(
            jpegs.small(),
            segment(0xE0, b"JFXX\0\x13" + SECRET),
            segment(0xE1, b"Exif\0\0" + block),
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp),
            segment(0xE2, b"ICC_PROFILE\0\1\1" + named),
            segment(0xEB, b"JP\0\1" + SECRET),
            segment(0xED, b"Photoshop 3.0\x008BIM" + SECRET),
            segment(0xFE, SECRET),
        )
        + SECRET,
        "webp": webp_of(
            extended(0x2C, 24, 16),
            riff(b"ICCP", named),
            riff(kind, body),
            riff(b"EXIF", block),
            riff(b"XMP ", xmp),
            riff(b"C2PA", SECRET),
        )
        + SECRET,
        "mpo": written(
            Image.fromarray(ramp()), "MPO", save_all=True, append_images=[Image.fromarray(ramp())], comment=SECRET
        ),
    }


def found(file: bytes) -> set[bytes]:
    """What of the secrets a file says, packed or not."""
    image = read(file)
    said = file + repr((image.info, dict(image.getexif()))).encode()
    return {secret for secret in SECRETS if secret in said}
