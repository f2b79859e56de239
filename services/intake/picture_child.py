"""A child process that decodes one picture of a stranger's: its bytes come on stdin, a PNG of ours leaves on stdout.

It holds no key and no address, may not write files, has a memory limit, and ends with its picture: whatever bytes do to
a decoder they do to this process. Of the file only pixels are kept: upright, in sRGB, without EXIF, profile or text.

On the way out: four bytes of length, a JSON header of that length, then the PNG.
"""

import io
import json
import os
import re
import resource
import struct
import sys

from PIL import Image

from shared.srgb import Undecodable, decoded

LENGTH = struct.Struct("!I")
NICENESS = 5  # heartbeats and answers come first
MAX_PIXELS = 40_000_000  # Pillow keeps four bytes a pixel: 160 MB
# How the files begin that are decoded. Pillow knows 43 formats and would try them all.
BEGINNINGS = {"PNG": rb"\x89PNG\r\n\x1a\n", "JPEG": rb"\xff\xd8\xff", "WEBP": rb"RIFF....WEBP"}
WEB_PAGE = re.compile(rb"<(?:script|html)[\s>]|<\?php\s", re.IGNORECASE)
PNG_LEVEL = 1  # 4 × faster than Pillow's default, and photographs are no larger for it


class Refused(Exception):
    """No source can be made of these bytes: a code, what is wrong, what to do."""

    def __init__(self, code: str, what: str, remedy: str) -> None:
        super().__init__(what)
        self.told = {"code": code, "what": what, "remedy": remedy}


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints cannot garble the answer
    memory = int(sys.argv[1]) * 1024 * 1024
    os.nice(NICENESS)
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    made = b""
    try:
        made, width, height = rewritten(sys.stdin.buffer.read())
        header: dict[str, object] = {"width": width, "height": height}
    except Refused as refused:
        header = {"refused": refused.told}
    told = json.dumps(header).encode()
    answers.writelines((LENGTH.pack(len(told)), told, made))
    answers.flush()


def rewritten(data: bytes) -> tuple[bytes, int, int]:
    """The picture as a PNG of ours, its width and its height in pixels.

    Raises:
        Refused: it is no picture that may be a source.
        MemoryError: it takes more than this process may have.
    """
    _refuse_disguised(data)
    try:
        image = decoded(_opened(data))
    except Undecodable as error:
        raise _damaged(str(error)) from error
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=PNG_LEVEL)
    return out.getvalue(), image.width, image.height


def _opened(data: bytes) -> Image.Image:
    """The file with its header read, and not a pixel decoded."""
    known = [name for name, beginning in BEGINNINGS.items() if re.match(beginning, data, re.DOTALL)]
    if not known:
        raise Refused(
            "unsupported_media_type",
            "the file is no PNG, JPEG or WebP, whatever its name says",
            "export it as one of these and send it again",
        )
    Image.MAX_IMAGE_PIXELS = None  # which would only warn; ours refuses
    try:
        image = Image.open(io.BytesIO(data), formats=known)
    except Exception as error:
        raise _damaged("its header cannot be read") from error
    if image.width * image.height > MAX_PIXELS:
        raise Refused(
            "too_many_pixels",
            f"{image.width} × {image.height} pixels are more than {MAX_PIXELS // 1_000_000} million",
            "scale it down and send it again",
        )
    # What cameras call a multi-picture JPEG has a preview or a second view behind the picture: that is no animation.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise Refused("animated", "the file is an animation, not one picture", "send one frame of it")
    return image


def _damaged(why: str) -> Refused:
    remedy = "look whether the file opens elsewhere, export it anew and send it again"
    return Refused("damaged_picture", f"the picture does not decode: {why[:200]}", remedy)


def _refuse_disguised(data: bytes) -> None:
    """A picture that other programs would open as something else was made to be taken for it."""
    other = None
    if b"%PDF-" in data[:1024]:  # where readers of PDF look
        other = "a PDF"
    elif _ends_as_archive(data):
        other = "a ZIP archive"
    elif WEB_PAGE.search(data):
        other = "a web page or script"
    if other is not None:
        remedy = "export the picture anew from a program that draws, with nothing attached"
        raise Refused("disguised", f"the file is a picture and {other} at once", remedy)


def _ends_as_archive(data: bytes) -> bool:
    """The record a ZIP ends with, whose comment reaches to the last byte."""
    at = data.rfind(b"PK\x05\x06", -(22 + 65535))
    return at >= 0 and at + 22 <= len(data) and at + 22 + int.from_bytes(data[at + 20 : at + 22], "little") == len(data)


if __name__ == "__main__":
    main()
