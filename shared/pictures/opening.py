"""The front door's only decoder, Pillow. Imported by child processes alone."""

import io
from typing import Any

from PIL import Image, ImageFile

from shared.pictures import metadata, png
from shared.pictures.door import admitted
from shared.pictures.words import Admitted, Limits, damaged


def opened(data: bytes | Admitted, limits: Limits) -> Image.Image:
    """The picture's pixels as they are stored. Of the rest of its file it has the way up, and the colour profile.

    What was let in already is not weighed again: that takes a quarter of the time.

    Raises:
        Refused: it is no picture that is let in, or not whole.
        MemoryError: it takes more than this process may have.
    """
    let_in = data if isinstance(data, Admitted) else admitted(data, limits)
    Image.MAX_IMAGE_PIXELS = None  # which would only warn; the door refuses
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image = Image.open(io.BytesIO(let_in.data), formats=[let_in.format])
        if image.size == (let_in.width, let_in.height):
            _load(image, let_in)
            return image
    except MemoryError:
        raise
    except Exception as error:
        # A decoder fed by strangers raises anything: OSError, SyntaxError, struct.error, IndexError and others.
        raise damaged(str(error)[:200]) from error
    raise damaged("it has two sizes")


def _load(image: Image.Image, let_in: Admitted) -> None:
    if "transparency" in image.info:
        image.info["transparency"] = _in_eight_bits(image.info["transparency"], image.mode, let_in.depth)
    image.load()
    if let_in.format == "PNG" and _may_lack_rows(image) and not png.is_whole(let_in.data):
        raise damaged("it is cut short")
    image.info.pop("exif", None)
    if let_in.orientation != 1:
        image.info["exif"] = metadata.EXIF + metadata.turned(let_in.orientation)
    if let_in.profile:
        image.info["icc_profile"] = let_in.profile


def _in_eight_bits(colour: Any, mode: str, depth: int) -> Any:
    """The colour that is see-through, as deep as Pillow keeps the pixels; it leaves this one as the file has it."""
    if mode == "L" and depth < 8:
        return colour * 255 // (2**depth - 1)
    if mode == "RGB" and depth == 16:
        return tuple(value >> 8 for value in colour)
    return colour


def _may_lack_rows(image: Image.Image) -> bool:
    """What was never unpacked is zero: in the last row, and of an interlaced picture anywhere."""
    last = image.crop((0, image.height - 1, image.width, image.height))
    return "interlace" in image.info or not any(last.tobytes())
