"""What is no PNG, JPEG or WebP, and what is one and something else at once."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.postprocess.corpus import jpegs, pngs, webps
from tests.postprocess.corpus.cases import Case, Decodes, ramp, refused
from tests.postprocess.corpus.chunks import chunk, extended, of_webp, riff, segment, webp_of, with_chunks, with_segments
from tests.postprocess.pictures import plain, swapped_profile, written


def foreign() -> Iterator[Case]:
    for name in (
        "GIF",
        "BMP",
        "TIFF",
        "ICO",
        "ICNS",
        "PPM",
        "TGA",
        "PCX",
        "SGI",
        "DDS",
        "JPEG2000",
        "AVIF",
        "PDF",
        "EPS",
    ):
        yield refused(f"other: {name}", written(plain(), name), "unsupported_media_type")
    gif = written(plain(), "GIF", save_all=True, append_images=[plain(colour=(1, 2, 3))])
    files = {
        "a GIF that moves": gif,
        "a GIF that is a script": b"GIF89a/*" + gif[8:] + b"*/=1;alert(1)",
        "PSD": b"8BPS\0\1" + bytes(6) + struct.pack("!HIIHH", 3, 8, 8, 8, 3) + bytes(200),
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        "JPEG XL": b"\xff\x0a" + bytes(100),
        "JPEG XR": b"II\xbc\x01" + bytes(100),
        "FITS": b"SIMPLE  =                    T" + bytes(100),
        "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "a web page": b"<!DOCTYPE html><html></html>",
        "a ZIP": archive(),
        "a script": b"#!/bin/sh\nrm -rf /\n",
        "MVG": b"push graphic-context\nviewbox 0 0 1 1\nimage over 0,0 0,0 'https://example.com/'\npop graphic-context",
        "a program": b"\x7fELF\2\1\1" + bytes(100),
        "a RIFF that is sound": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(30),
        "zeros": bytes(1000),
        "nothing": b"",
        "a PNG's name in lower case": b"\x89png" + pngs.small()[4:],
        "a PNG behind a line": b"\n" + pngs.small(),
        "a PNG that went through text mode": pngs.small().replace(b"\r\n", b"\n"),
        "MNG": b"\x8aMNG" + pngs.small()[4:],
        "JNG": b"\x8bJNG" + pngs.small()[4:],
    }
    for name, data in files.items():
        yield refused(f"other: {name}", data, "unsupported_media_type")
    yield refused("too many bytes", pngs.small() + bytes(64 * 1024 * 1024), "too_large")


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("payload.sh", "rm -rf /")
    return out.getvalue()


def polyglots() -> Iterator[Case]:
    hidden = {
        "ZIP": archive(),
        "ZIP with more behind": archive() + b"\0\0",
        "RAR": b"Rar!\x1a\x07\x01\0" + bytes(50),
        "7z": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(50),
        "PHAR": b"<?php __HALT_COMPILER(); ?>",
        "web page": b"<html><script>alert(1)</script></html>",
        "web page in capitals": b"<HTML\n>",
        "web page's doctype": b"<!DOCTYPE html>",
        "PHP": b"<?php system($_GET['c']);",
    }
    pictures = {"png": pngs.small(), "jpeg": jpegs.small(), "webp": webps.small()}
    for what, other in hidden.items():
        for kind, data in pictures.items():
            yield refused(f"{kind} and {what}", data + other, "disguised")
    inside = {"web page": b"<script>alert(1)</script>", "PDF": b"%PDF-1.7 1 0 obj", "SVG": b"<svg onload='alert(1)'>"}
    for what, other in inside.items():
        yield refused(
            f"png and {what}, in a text", with_chunks(pngs.small(), chunk(b"tEXt", b"a\0" + other)), "disguised"
        )
        yield refused(f"jpeg and {what}, in a comment", with_segments(jpegs.small(), segment(0xFE, other)), "disguised")
        parts = [riff(*part) for part in of_webp(webps.small())]
        data = webp_of(extended(0, 24, 16), riff(b"note", other), *parts)
        yield refused(f"webp and {what}, in a chunk", data, "disguised")
    program = chunk(b"IDAT", b"<?php echo 1; ?>")
    yield refused("png and PHP, in its pixels", with_chunks(pngs.small(), program), "disguised")


def profiles() -> Iterator[Case]:
    """Colours that are another's, and profiles that are none or do not fit."""
    swapped = swapped_profile()
    turned = ramp()[..., [1, 0, 2]].copy()
    fits = {
        "png": with_chunks(_of(turned, "PNG"), _iccp(swapped)),
        "jpeg": written(Image.fromarray(turned), "JPEG", quality=95, subsampling=0, icc_profile=swapped),
        "webp": written(Image.fromarray(turned), "WEBP", lossless=True, icc_profile=swapped),
    }
    for kind, data in fits.items():
        yield Case(
            f"{kind}: red and green exchanged by its profile", data, Decodes(ramp(), 20 if kind == "jpeg" else 3)
        )
    broken = {
        "with another size": b"\xff\xff\xff\xff" + swapped[4:],
        "cut short": swapped[: len(swapped) // 2],
        "that is a header alone": swapped[:128],
        "without its mark": swapped[:36] + b"what" + swapped[40:],
        "with a thousand million tags": swapped[:128] + b"\x3b\x9a\xca\x00" + swapped[132:],
        "whose tags lie beyond it": swapped[:132] + b"\xff" * (len(swapped) - 132),
        "for grey": swapped[:16] + b"GRAY" + swapped[20:],
        "for inks": swapped[:16] + b"CMYK" + swapped[20:],
        "between devices": swapped[:12] + b"link" + swapped[16:],
    }
    for name, profile in broken.items():
        yield Case(f"png: a profile {name}", with_chunks(pngs.small(), _iccp(profile)), Decodes(ramp()))


def _iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))


def _of(pixels: "np.ndarray", format: str) -> bytes:
    return written(Image.fromarray(pixels), format)
