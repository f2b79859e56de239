"""XMP into an AVIF: an item of type `mime` that describes the picture (ISO/IEC 23008-12, Annex A.3). Pure.

The item's bytes come at the end of the file; `meta` grows by its three lines, so what lies behind it moves, and every
place that `iloc` names moves with it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

TYPE = b"application/rdf+xml\0"


@dataclass(frozen=True, slots=True)
class Box:
    name: bytes
    start: int
    body: int
    end: int


def with_xmp(data: bytes, packet: bytes) -> bytes:
    """Raises ValueError, IndexError or struct.error for what is no still picture in this form."""
    outer = {box.name: box for box in boxes(data, 0, len(data))}
    if b"ftyp" not in outer or b"meta" not in outer:
        raise ValueError("no ftyp or no meta")
    meta = outer[b"meta"]
    inner = list(boxes(data, meta.body + 4, meta.end))
    content = {box.name: data[box.body : box.end] for box in inner}
    item = 1 + max(_items(content[b"iinf"]))
    locations = _Locations.read(content[b"iloc"])
    made = {
        b"iinf": _with_entry(content[b"iinf"], item),
        b"iref": _with_reference(content.get(b"iref", bytes(4)), item, _primary(content[b"pitm"])),
        b"iloc": locations.written(item, shift=0, after=meta.end, place=0, length=len(packet)),
    }
    order = [box.name for box in inner] + ([] if b"iref" in content else [b"iref"])
    grown = 12 + sum(8 + len(made.get(name, content.get(name, b""))) for name in order)
    shift = grown - (meta.end - meta.start)
    made[b"iloc"] = locations.written(
        item, shift=shift, after=meta.end, place=len(data) + shift + 8, length=len(packet)
    )
    body = data[meta.body : meta.body + 4] + b"".join(_box(name, made.get(name) or content[name]) for name in order)
    return b"".join([data[: meta.start], _box(b"meta", body), data[meta.end :], _box(b"mdat", packet)])


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes that lie beside each other in this stretch (ISO/IEC 14496-12, section 4.2)."""
    while start < end:
        size, name = struct.unpack_from("!I4s", data, start)
        body = start + 8
        if size == 1:
            size, body = struct.unpack_from("!Q", data, body)[0], body + 8
        size = size or end - start
        if size < body - start or start + size > end:
            raise ValueError(f"a box {name!r} that ends beyond what holds it")
        yield Box(name, start, body, start + size)
        start += size


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack("!I4s", 8 + len(body), name) + body


def _primary(pitm: bytes) -> int:
    return int.from_bytes(pitm[4:6] if pitm[0] == 0 else pitm[4:8], "big")


def _items(iinf: bytes) -> list[int]:
    start = 6 if iinf[0] == 0 else 8
    found = []
    for box in boxes(iinf, start, len(iinf)):
        wide = 4 if iinf[box.body] >= 3 else 2
        found.append(int.from_bytes(iinf[box.body + 4 : box.body + 4 + wide], "big"))
    return found


def _with_entry(iinf: bytes, item: int) -> bytes:
    wide = 2 if iinf[0] == 0 else 4
    count = int.from_bytes(iinf[4 : 4 + wide], "big") + 1
    # infe, version 2, hidden: an item, unprotected, of a MIME type, with a name for people.
    entry = _box(b"infe", bytes([2, 0, 0, 1]) + struct.pack("!HH", item, 0) + b"mime" + b"XMP\0" + TYPE)
    return iinf[:4] + count.to_bytes(wide, "big") + iinf[4 + wide :] + entry


def _with_reference(iref: bytes, item: int, primary: int) -> bytes:
    """`cdsc`: the item describes the picture."""
    wide = 2 if iref[0] == 0 else 4
    ends = item.to_bytes(wide, "big") + struct.pack("!H", 1) + primary.to_bytes(wide, "big")
    return iref + _box(b"cdsc", ends)


@dataclass(frozen=True, slots=True)
class _Locations:
    """`iloc`, read: sizes of its fields, and of each item its head and the extents (index, offset, length)."""

    version: int
    sizes: tuple[int, int, int, int]  # offset, length, base offset, index
    items: list[tuple[bytes, bool, int, list[tuple[int, int, int]]]]

    @classmethod
    def read(cls, iloc: bytes) -> "_Locations":
        version, offset, length, base, index = iloc[0], iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, iloc[5] & 15
        wide = 4 if version == 2 else 2
        head = wide + (2 if version else 0) + 2
        read = _Reader(iloc, 6)
        items = []
        for _ in range(read.number(wide)):
            start = read.take(head)
            absolute = version == 0 or start[wide + 1] & 15 == 0
            base_offset = read.number(base)
            extents = [
                (read.number(index if version else 0), read.number(offset), read.number(length))
                for _ in range(read.number(2))
            ]
            items.append((start, absolute, base_offset, extents))
        return cls(version, (offset, length, base, index if version else 0), items)

    def written(self, item: int, *, shift: int, after: int, place: int, length: int) -> bytes:
        """With one item more; what lies at `after` or behind it in the file has moved by `shift`."""
        offset_size, length_size, base_size, index_size = self.sizes
        if offset_size < 4 or length_size < 4:
            raise ValueError("iloc has no room for an offset")
        wide = 4 if self.version == 2 else 2
        out = [(len(self.items) + 1).to_bytes(wide, "big")]
        for start, absolute, base, extents in self.items:
            # A base that is used says where in the file; without one each extent does.
            moved = shift if absolute and base >= after else 0
            out += [start, (base + moved).to_bytes(base_size, "big"), struct.pack("!H", len(extents))]
            for index, offset, size in extents:
                alone = shift if absolute and not base and offset >= after else 0
                out += [index.to_bytes(index_size, "big"), (offset + alone).to_bytes(offset_size, "big")]
                out.append(size.to_bytes(length_size, "big"))
        head = item.to_bytes(wide, "big") + bytes((2 if self.version else 0) + 2)
        out += [head, bytes(base_size), struct.pack("!H", 1), bytes(index_size)]
        out += [place.to_bytes(offset_size, "big"), length.to_bytes(length_size, "big")]
        sizes = bytes([offset_size << 4 | length_size, base_size << 4 | index_size])
        return bytes([self.version, 0, 0, 0]) + sizes + b"".join(out)


@dataclass(slots=True)
class _Reader:
    data: bytes
    place: int

    def take(self, count: int) -> bytes:
        if self.place + count > len(self.data):
            raise ValueError("a table that ends too early")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")
