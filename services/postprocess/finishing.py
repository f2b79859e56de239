"""The last steps on what is published: XMP, then Content Credentials. Imported by the child process only.

encode → XMP → hash (the file's identity) → sign → hash again (what goes over the wire). Signing comes last because it
covers all bytes, and is not repeatable; the hash before it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from services.postprocess.containers import with_xmp
from services.postprocess.cose import Unsignable
from services.postprocess.orders import Developed, Order, Origin
from services.postprocess.originals import Whole, bears_credentials, whole
from services.postprocess.xmp import packet
from shared.pictures import Admitted, Limits, admitted, clock

if TYPE_CHECKING:
    from services.postprocess.certifying import Certifier, SignedOriginal

Develop = Callable[[Admitted, Order], Developed]
Sign = Callable[[Sequence[bytes]], Sequence[bytes]]
"""Questions to signatures."""

# What is said where nobody signs, of a picture that somebody else did.
LOST = "postprocess has no signing key, and the credentials it came with hold for the stored original alone"

# What a container adds to a packet of XMP: most in an AVIF, whose tables name it.
XMP_PLACE = 100
# What a derivative's credentials take beside its parent's and the certificates in its own: claim, ingredient, hashes;
# and a name for each step and the format. Measured, and some more.
CLAIM, STEP = 4700, 110


def finished(original: bytes, order: Order, *, develop: Develop, sign: Sign, limits: Limits) -> Developed:
    """The original and every derivative, described and, where the order names a certificate, signed.

    Raises what `recipes.develop` raises. What cannot be signed is handed over unsigned, with the reason.
    """
    # A picture, and no larger than one may be: no more is known of what the library that signs reads, a stranger's XMP
    # and claims among it. It follows no address in them.
    with clock.decoding(limits.seconds):
        let_in = admitted(original, limits)
    origin = order.origin
    if origin is None:
        return develop(let_in, order)
    try:
        certifier = _certifier(origin, None if origin.is_draft else sign) if origin.certificates else None
        first = certifier.original(_plain(let_in, origin), came=original) if certifier else None
    except Unsignable as reason:  # a picture that is broken is refused by the decoder in a moment
        return _complete(_described(let_in, order, develop, first=None), _plain(let_in, origin), unsigned=str(reason))
    developed = _described(let_in, order, develop, first=first)
    if certifier is None or first is None:
        unsigned = LOST if bears_credentials(original) else None
        return _complete(developed, _plain(let_in, origin), unsigned=unsigned)
    if origin.is_draft:
        return _complete(developed, first.whole)
    published = [made for made in developed.derivatives if made.channel is not None]
    try:
        signed = certifier.derivatives(published, first=first)
    except Unsignable as reason:
        return _complete(developed, _plain(let_in, origin), unsigned=str(reason))
    proxies = [made for made in developed.derivatives if made.channel is None]
    return _complete(replace(developed, derivatives=[*proxies, *signed]), first.whole)


def _plain(let_in: Admitted, origin: Origin) -> Whole:
    """Made when it is wanted, and held by nobody meanwhile: of 4096² it is 20 to 40 MB."""
    return whole(let_in, _packet(origin, None))


def _complete(developed: Developed, original: Whole, *, unsigned: str | None = None) -> Developed:
    """With the original as the first of what is published, behind the proxies."""
    proxies = [made for made in developed.derivatives if made.channel is None]
    published = [made for made in developed.derivatives if made.channel is not None]
    made = [*proxies, original.derivative(developed.original), *published]
    return replace(developed, derivatives=made, unsigned=unsigned)


def _described(let_in: Admitted, order: Order, develop: Develop, *, first: "SignedOriginal | None") -> Developed:
    """With XMP in what is published, and within the budgets that leaves."""
    origin = order.origin
    assert origin is not None, "it is asked of those that say where they come from"
    developed = develop(let_in, order.model_copy(update={"reserve": _reserve(order, origin, first)}))
    described = [
        made
        if made.channel is None
        else replace(made, data=with_xmp(made.data, made.facts.media_type, _packet(origin, made.channel)))
        for made in developed.derivatives
    ]
    return replace(developed, derivatives=described)


def _packet(origin: Origin, channel: str | None) -> bytes:
    return packet(
        origin.source_type,
        alt_text=origin.alt_text,
        caption=origin.caption,
        manifest=origin.manifest,
        recipe=origin.recipes.get(channel) if channel else None,
    )


def _reserve(order: Order, origin: Origin, first: "SignedOriginal | None") -> dict[str, dict[str, int]]:
    """The bytes of each rendition's budget that belong to what is said of it, by channel.

    They come of the rendition alone, so that its file is the same whatever is made beside it.
    """
    certificates = len(origin.certificates or "") * 3 // 4  # as they stand in a claim: without base64
    signed = first.store + certificates + CLAIM if first else 0
    found: dict[str, dict[str, int]] = {}
    for channel, recipe in order.recipes.items():
        said = XMP_PLACE + len(_packet(origin, channel)) + signed
        steps = {made.name: max(len(made.operations), 2) + 1 if first else 0 for made in recipe.renditions}
        found[channel] = {name: said + STEP * many for name, many in steps.items()}
    return found


def _certifier(origin: Origin, sign: Sign | None) -> "Certifier":
    from services.postprocess.certifying import Certifier  # noqa: PLC0415  # a library of 20 MB, for those who sign

    return Certifier(origin, sign)
