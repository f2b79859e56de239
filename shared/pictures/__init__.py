"""The front door: what bytes of a stranger's have to be before a decoder of ours sees them, and what it then sees.

Bytes that begin as a PNG, JPEG or WebP are walked chunk by chunk in Python, which costs microseconds and takes no
memory: size, pixels, frames, texts and profiles are weighed against `Limits`, and whatever has no part in the pixels
(texts, EXIF, profiles, thumbnails, what hangs behind) is taken out. Nothing in here imports a decoder but `opening`.
"""

from shared.pictures.door import admitted, is_avif
from shared.pictures.words import REMEDIES, Admitted, Format, Limits, Refused

__all__ = ["REMEDIES", "Admitted", "Format", "Limits", "Refused", "admitted", "is_avif"]
