"""What has to be signed of a C2PA manifest, and where its signature stands. Pure.

The library signs with a key that it holds. Ours is held by the worker, so a child lets the library sign with a key of
no worth, made for nothing else, takes out what that key signed, and puts the worker's signature in its place: of the
same algorithm, it has the same length. The callback that the library offers instead reserves 10 kB a manifest for a
signature of 64 bytes, and asks for one at a time; this way a picture's files are signed by one question.

C2PA 2.2, sections 10.3.2.4 (signature box) and 11.1.4 (JUMBF); COSE_Sign1: RFC 9052, section 4.4.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from services.postprocess.containers import PNG_MAGIC, png_chunks
from shared.pictures.png import chunk

CLAIM, SIGNATURE = ("c2pa.claim.v2", "c2pa.claim"), ("c2pa.signature",)
BYTES, TEXT, ARRAY, MAP, TAG = 2, 3, 4, 5, 6  # of CBOR's major types


class Unsignable(Exception):
    """No credentials can be written into this file; the message says why."""


class NotAsExpected(Unsignable):
    """The library wrote a manifest in another form than this module reads."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`question` is what the right key has to sign; `stand_in` the signature that the answer replaces."""

    question: bytes
    stand_in: bytes


def claim_of(store: bytes) -> Claim:
    """Of the newest manifest of the store. Raises NotAsExpected."""
    try:
        ((_, start, end),) = _boxes(store, 0, len(store))
        *_, newest = (box for box in _boxes(store, start, end) if box[0] == b"jumb")
        parts = {_label(store, *box[1:]): box[1:] for box in _boxes(store, *newest[1:]) if box[0] == b"jumb"}
        claim = _cbor(store, *_named(parts, CLAIM))
        protected, stand_in = _sign1(_cbor(store, *_named(parts, SIGNATURE)))
    except (ValueError, IndexError, StopIteration, struct.error) as error:
        raise NotAsExpected(f"a manifest that cannot be read: {error!r}") from error
    question = b"\x84" + _item(TEXT, b"Signature1") + _item(BYTES, protected) + _item(BYTES, b"") + _item(BYTES, claim)
    return Claim(question, stand_in)


def with_signature(data: bytes, claim: Claim, signature: bytes) -> bytes:
    """The file with the answer in place of the stand-in. Raises NotAsExpected."""
    if len(signature) != len(claim.stand_in):
        raise NotAsExpected(f"a signature of {len(signature)} bytes, where {len(claim.stand_in)} have their place")
    png = data.startswith(PNG_MAGIC)
    start, end = _manifest_chunk(data) if png else (0, len(data))
    if data.count(claim.stand_in, start, end) != 1:
        raise NotAsExpected("the signature does not stand in one piece in the file")
    if png:
        signed = chunk(b"caBX", data[start + 8 : end - 4].replace(claim.stand_in, signature))  # with its checksum
    else:
        start = data.index(claim.stand_in)
        end, signed = start + len(signature), signature
    whole = memoryview(data)
    return b"".join((whole[:start], signed, whole[end:]))


def _manifest_chunk(png: bytes) -> tuple[int, int]:
    for name, start, end in png_chunks(png):
        if name == b"caBX":
            return start, end
    raise NotAsExpected("a PNG without a manifest")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type and content (start, end) of the boxes beside each other in this stretch."""
    while start < end:
        size, name = struct.unpack_from("!I4s", data, start)
        if not 8 <= size <= end - start:
            raise ValueError(f"a box of {size} bytes")
        yield name, start + 8, start + size
        start += size


def _label(data: bytes, start: int, end: int) -> str:
    """What a superbox's description calls it: after a UUID and a byte of toggles."""
    name, first, _ = next(_boxes(data, start, end))
    if name != b"jumd":
        raise ValueError("a box without a description")
    return data[first + 17 : data.index(0, first + 17)].decode()


def _named(parts: dict[str, tuple[int, int]], names: tuple[str, ...]) -> tuple[int, int]:
    return next(parts[name] for name in names if name in parts)


def _cbor(data: bytes, start: int, end: int) -> bytes:
    return next(data[first:last] for name, first, last in _boxes(data, start, end) if name == b"cbor")


def _sign1(sign1: bytes) -> tuple[bytes, bytes]:
    """Protected header and signature: first and last of the array's four."""
    major, value, place = _head(sign1, 0)
    if major == TAG:
        major, value, place = _head(sign1, place)
    if (major, value) != (ARRAY, 4):
        raise ValueError("no COSE_Sign1")
    items = []
    for _ in range(4):
        end = _end(sign1, place)
        items.append(sign1[_head(sign1, place)[2] : end])
        place = end
    return items[0], items[3]


def _end(data: bytes, place: int) -> int:
    """Where the item that begins here is over."""
    major, value, place = _head(data, place)
    if major in {BYTES, TEXT}:
        return place + value
    for _ in range({ARRAY: value, MAP: 2 * value, TAG: 1}.get(major, 0)):
        place = _end(data, place)
    return place


def _head(data: bytes, place: int) -> tuple[int, int, int]:
    """Major type, value, and where it goes on (RFC 8949, section 3)."""
    major, low = data[place] >> 5, data[place] & 31
    if low < 24:
        return major, low, place + 1
    if low > 27:
        raise ValueError("an item without a length")
    wide = 1 << low - 24
    return major, int.from_bytes(data[place + 1 : place + 1 + wide], "big"), place + 1 + wide


def _item(major: int, content: bytes) -> bytes:
    length = len(content)
    for low, wide in ((24, 1), (25, 2), (26, 4)):
        if length < 24:
            return bytes([major << 5 | length]) + content
        if length < 1 << 8 * wide:
            return bytes([major << 5 | low]) + length.to_bytes(wide, "big") + content
    raise ValueError("too long to be signed")
