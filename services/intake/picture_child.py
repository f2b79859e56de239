"""A child process that decodes one picture of a stranger's: its bytes come on stdin, a PNG of ours leaves on stdout.

It holds no key and no address, may not write files, has limits of memory and of processor time, and ends with its
picture: whatever bytes do to a decoder they do to this process. Of the file only pixels are kept: upright, in sRGB,
without EXIF, profile or text.

On the way out: four bytes of length, a JSON header of that length, then the PNG.
"""

import io
import json
import os
import resource
import struct
import sys

from shared.pictures import Limits, Refused, clock
from shared.pictures.opening import opened
from shared.srgb import decoded

LENGTH = struct.Struct("!I")
NICENESS = 5  # heartbeats and answers come first
PNG_LEVEL = 1  # 4 × faster than Pillow's default, and photographs are no larger for it


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints cannot garble the answer
    memory, seconds = int(sys.argv[1]) * 1024 * 1024, float(sys.argv[2])
    os.nice(NICENESS)
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    made = b""
    try:
        made, width, height = rewritten(sys.stdin.buffer.read(), Limits(seconds=seconds))
        header: dict[str, object] = {"width": width, "height": height}
    except Refused as refused:
        header = {"refused": {"code": refused.code, "what": refused.what, "remedy": refused.remedy}}
    told = json.dumps(header).encode()
    answers.writelines((LENGTH.pack(len(told)), told, made))
    answers.flush()


def rewritten(data: bytes, limits: Limits) -> tuple[bytes, int, int]:
    """The picture as a PNG of ours, its width and its height in pixels.

    Raises:
        Refused: it is no picture that may be a source.
    """
    try:
        with clock.decoding(limits.seconds):
            image = decoded(opened(data, limits))
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=PNG_LEVEL)
    except MemoryError:
        raise Refused("too_much_memory", "the picture takes more memory than its decoder may have") from None
    return out.getvalue(), image.width, image.height


if __name__ == "__main__":
    main()
