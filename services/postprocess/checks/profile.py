"""Whether a file names the colours that its recipe asks for: found in its bytes, whatever was meant before."""

import io

from PIL import Image, ImageCms

from shared.events import Verdict


def profile(data: bytes, *, asked: bytes | None) -> Verdict:
    """`asked` is an ICC profile; None where the file may go without, as one in sRGB does."""
    with Image.open(io.BytesIO(data)) as image:
        found: bytes | None = image.info.get("icc_profile")
    ok = found == asked
    says = f"is in {_name(found)}" if found else "names no colour profile"
    wanted = "" if ok else f", asked {_name(asked)}" if asked else ", asked none"
    return Verdict(check="profile", ok=ok, sentence=f"The file {says}{wanted}.", code=None if ok else "other")


def _name(profile: bytes | None) -> str:
    """What a profile calls itself."""
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))).strip()
    except (ImageCms.PyCMSError, OSError):
        return "a profile that cannot be read"
