"""What the front door weighs by, what it lets in, and how it says no."""

from typing import Literal, NamedTuple

Format = Literal["PNG", "JPEG", "WEBP"]

# Each refusal by its code, and what whoever sent the file can do. docs/guides/safety.md has the same codes.
REMEDIES = {
    "too_large": "scale it down, or save it as a JPEG or WebP",
    "too_many_pixels": "scale it down and send it again",
    "unsupported_media_type": "export it as one of these and send it again",
    "unsupported_coding": "save it as an ordinary JPEG, as web browsers show it, and send it again",
    "damaged_picture": "look whether the file opens elsewhere, export it anew and send it again",
    "animated": "send one frame of it",
    "disguised": "export the picture anew from a program that draws, with nothing attached",
    "too_much_metadata": "export the picture anew without metadata and send it again",
    "too_slow": "scale it down, or export it anew as a plain PNG, and send it again",
    "too_much_memory": "scale it down, or export it anew as a plain PNG, and send it again",
}


class Refused(Exception):
    """These bytes are not one picture that is let in: a code, what is wrong, what to do."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(code, what)
        self.code = code
        self.what = what
        self.remedy = REMEDIES[code]

    def __str__(self) -> str:
        return self.what


class Limits(NamedTuple):
    """What is refused before a decoder sees a pixel. Pillow keeps four bytes a pixel, so 40 MP are 160 MB."""

    bytes: int = 64 * 1024 * 1024
    pixels: int = 40_000_000
    side: int = 32_767  # OpenCV counts some of its coordinates in 16 bits
    # One text of a PNG, unpacked. Nothing of ours reads it: one that is larger was made to be a bomb.
    text: int = 1024 * 1024
    profile: int = 4 * 1024 * 1024  # profiles of printing presses have 0.5 to 3 MB
    metadata: int = 16 * 1024 * 1024  # all that is not pixels
    parts: int = 65_536  # chunks or segments, each some bytes of a file and a turn of a loop
    # A progressive JPEG of 40 MP with a thousand empty scans has 100 kB and takes minutes. Cameras write about ten.
    scans: int = 100
    seconds: float | None = None  # of processor time to decode it; None where nobody's clock runs


class Admitted(NamedTuple):
    """A file that was let in. Width and height are those of the stored pixels, before it is turned upright."""

    format: Format
    width: int
    height: int
    data: bytes  # the same file with all taken out that has no part in the pixels
    depth: int  # bits of a channel
    orientation: int  # as EXIF has it: 1 to 8, 1 is upright
    profile: bytes | None  # an ICC profile that looks like one
    colours: bytes = b""  # a PNG's chunks that say in numbers what its own mean; for viewers, none of ours reads them

    @property
    def media_type(self) -> str:
        return f"image/{self.format.lower()}"


def damaged(why: str) -> Refused:
    return Refused("damaged_picture", f"the picture does not decode: {why}")
