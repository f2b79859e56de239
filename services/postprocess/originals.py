"""The original as it is published: its pixels as they were handed over, and beside them our word and no other.

Imported by the child process only.
"""

import re
from dataclasses import dataclass

from services.postprocess.containers import with_xmp
from services.postprocess.decoding import Facts
from services.postprocess.orders import Derivative
from shared.events.words import ORIGINAL
from shared.pictures import Admitted
from shared.pictures.cleaned import cleaned

# Boxes of C2PA, and where XMP says that they are kept elsewhere.
CREDENTIALS = (b"jumb", b"dcterms:provenance")
# A box as it begins: four bytes of pixels may look like its name, these eight do not.
BEARS = re.compile(rb"jumb.{4}jumd|dcterms:provenance", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Whole:
    """`unsigned_sha256` is set once it is signed; until then nothing in it says who made it."""

    data: bytes
    media_type: str
    unsigned_sha256: str | None = None

    def derivative(self, facts: Facts) -> Derivative:
        """It is published as one, made by no recipe."""
        return Derivative(
            channel=None,
            rendition=ORIGINAL,
            data=self.data,
            facts=facts,
            wanted_type=facts.media_type,
            wanted=(facts.width, facts.height),
            exact=True,
            max_bytes=None,
            manifest={"operations": []},
            unsigned_sha256=self.unsigned_sha256,
        )


def whole(let_in: Admitted, packet: bytes) -> Whole:
    """What a viewer needs of it and our XMP."""
    return Whole(with_xmp(cleaned(let_in), let_in.media_type, packet), let_in.media_type)


def names_credentials(data: bytes) -> bool:
    """Whether somebody may have signed it. Four bytes of pixels can look so too: who asks then reads it."""
    return any(mark in data for mark in CREDENTIALS)


def bears_credentials(data: bytes) -> bool:
    """Whether it is said that somebody signed it: for those who do not read it."""
    return BEARS.search(data) is not None
