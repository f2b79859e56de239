"""What a file says of itself in XMP, for tools that read no Content Credentials: IPTC's fields, what it was made of.

Pure: the same facts give the same bytes, so that a derivative made again has the same hash.
"""

import re
from xml.sax.saxutils import escape, quoteattr

from shared.events import SourceType

# https://cv.iptc.org/newscodes/digitalsourcetype: what C2PA's actions name too.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
OURS = "urn:calotype:xmp:1:"
# Together they stay under the 64 kB that a JPEG segment holds, however they are escaped.
MOST_CHARACTERS = 4000
# What XML 1.0 has no way to say.
UNSAYABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"\
 xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"\
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:calotype={ours}{attributes}>{elements}\
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>"""


def source_uri(source_type: SourceType) -> str | None:
    """The term of IPTC's vocabulary; None for what a newer release may call it."""
    return None if source_type is SourceType.UNKNOWN else SOURCE_TYPES + source_type


def packet(
    source_type: SourceType, *, alt_text: str | None, caption: str | None, manifest: str, recipe: str | None
) -> bytes:
    """`manifest` and `recipe` are SHA-256: of what the image can be made again from, and of the pinned recipe."""
    attributes = {
        "Iptc4xmpExt:DigitalSourceType": source_uri(source_type),
        "calotype:ManifestSHA256": manifest,
        "calotype:RecipeSHA256": recipe,
    }
    elements = {"Iptc4xmpCore:AltTextAccessibility": alt_text, "dc:description": caption}
    text = _PACKET.format(
        ours=quoteattr(OURS),
        attributes="".join(f" {name}={quoteattr(value)}" for name, value in attributes.items() if value),
        elements="".join(_in_any_language(name, text) for name, text in elements.items() if text),
    )
    return text.encode()


def _in_any_language(name: str, text: str) -> str:
    said = escape(UNSAYABLE.sub("", text[:MOST_CHARACTERS]))
    return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{said}</rdf:li></rdf:Alt></{name}>'
