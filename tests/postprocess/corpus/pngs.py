"""PNGs by hand: each bit depth, colour type and interlacing, and what the specification has in store beside them."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tests.postprocess.corpus.cases import HEIGHT, WIDTH, Case, Decodes, Pixels, ramp
from tests.postprocess.corpus.chunks import SIGNATURE, chunk, exif, header, of_png, with_chunks

Samples = npt.NDArray[np.uint16]  # height × width × channels, as deep as the PNG is

KINDS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def samples(depth: int, colour: int, width: int = WIDTH, height: int = HEIGHT) -> Samples:
    """Another value for each pixel and channel, as far as the depth has them."""
    across, down, channel = np.meshgrid(np.arange(width), np.arange(height), np.arange(CHANNELS[colour]))
    made: Samples = ((across * 29 + down * 53 + channel * 97) * (257 if depth == 16 else 1) % 2**depth).astype(
        np.uint16
    )
    return made


def palette(colours: int) -> bytes:
    return bytes((37 * number + 80 * channel) % 256 for number in range(colours) for channel in range(3))


def packed(rows: Samples, depth: int, filters: bytes = b"\0") -> bytes:
    """Rows as they stand in a PNG, each filtered by one of the filters in turn."""
    if not rows.size:
        return b""
    out, above = [], b""
    pixel = max(1, rows.shape[2] * depth // 8)
    for number, row in enumerate(rows.reshape(rows.shape[0], -1)):
        raw = row.astype(">u2").tobytes() if depth == 16 else row.astype(np.uint8).tobytes()
        if depth < 8:
            bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, -depth:]
            raw = np.packbits(bits.ravel()).tobytes()
        kind = filters[number % len(filters)]
        out.append(bytes([kind]) + filtered(kind, raw, above or bytes(len(raw)), pixel))
        above = raw
    return b"".join(out)


def filtered(kind: int, raw: bytes, above: bytes, pixel: int) -> bytes:
    """ISO/IEC 15948, 9.2."""

    def guess(left: int, up: int, corner: int) -> int:
        estimate = left + up - corner
        nearest = min((left, up, corner), key=lambda value: abs(estimate - value))
        return (0, left, up, (left + up) // 2, nearest)[kind]

    left, corner = bytes(pixel) + raw, bytes(pixel) + above
    return bytes((value - guess(left[n], above[n], corner[n])) % 256 for n, value in enumerate(raw))


def interlaced(rows: Samples, depth: int) -> bytes:
    return b"".join(packed(rows[top::down, left::across], depth) for left, top, across, down in PASSES)


def png(
    rows: Samples, depth: int, colour: int, *, adam7: bool = False, filters: bytes = b"\0", extra: bytes = b""
) -> bytes:
    height, width = rows.shape[:2]
    pixels = interlaced(rows, depth) if adam7 else packed(rows, depth, filters)
    colours = chunk(b"PLTE", palette(2**depth)) if colour == 3 else b""
    start = SIGNATURE + header(width, height, depth=depth, colour=colour, interlaced=int(adam7)) + colours + extra
    return start + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND")


def shown(rows: Samples, depth: int, colour: int) -> Pixels:
    """Eight bits of RGB or RGBA, by the specification and not by a library."""
    if colour == 3:
        return np.frombuffer(palette(2**depth), np.uint8).reshape(-1, 3)[rows[..., 0]]
    scaled: Pixels = np.round(rows * (255 / (2**depth - 1))).astype(np.uint8)
    return scaled[..., {0: [0, 0, 0], 2: [0, 1, 2], 4: [0, 0, 0, 1], 6: [0, 1, 2, 3]}[colour]]


def small() -> bytes:
    """What others are made from."""
    return png(ramp().astype(np.uint16), 8, 2)


def good() -> Iterator[Case]:
    for colour, depths in KINDS.items():
        for depth in depths:
            rows = samples(depth, colour)
            for adam7 in (False, True):
                name = f"png: type {colour}, {depth} bits{', interlaced' * adam7}"
                yield Case(name, png(rows, depth, colour, adam7=adam7), Decodes(shown(rows, depth, colour)))
    yield from _sizes()
    yield from _transparent()
    yield from _written_otherwise()


def _sizes() -> Iterator[Case]:
    for side in range(1, 10):
        for colour, depth in ((2, 8), (0, 1)):
            rows = samples(depth, colour, side, side)
            name = f"png: {side} × {side}, type {colour}, interlaced"
            yield Case(name, png(rows, depth, colour, adam7=True), Decodes(shown(rows, depth, colour)))


def _transparent() -> Iterator[Case]:
    """One colour that is not there, and palettes with an alpha for some of their colours."""
    for colour, depth in ((0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)):
        rows = samples(depth, colour)
        key = rows[2, 3]
        pixels = shown(rows, depth, colour)
        alpha = np.where((rows == key).all(axis=2), 0, 255).astype(np.uint8)
        extra = chunk(b"tRNS", key.astype(">u2").tobytes())
        expected = Decodes(np.dstack([pixels, alpha]))
        yield Case(
            f"png: type {colour}, {depth} bits, one colour see-through", png(rows, depth, colour, extra=extra), expected
        )
    for depth in KINDS[3]:
        rows = samples(depth, 3)
        alphas = bytes([0, 128])
        alpha = np.array([0, 128, *[255] * 254], np.uint8)[rows[..., 0]]
        expected = Decodes(np.dstack([shown(rows, depth, 3), alpha]))
        data = png(rows, depth, 3, extra=chunk(b"tRNS", alphas))
        yield Case(f"png: palette of {depth} bits, two colours see-through", data, expected)


def _written_otherwise() -> Iterator[Case]:
    """The same picture, by writers of other habits, and with all kinds of things beside it."""
    expected = Decodes(ramp())
    rows, data = ramp().astype(np.uint16), small()
    start, pixels, end = data[:33], of_png(data)[1][1], chunk(b"IEND")
    for number in range(5):
        yield Case(f"png: filter {number}", png(rows, 8, 2, filters=bytes([number])), expected)
    yield Case("png: all filters in turn", png(rows, 8, 2, filters=bytes(range(5))), expected)
    bits16 = png(ramp().astype(np.uint16) * 257, 16, 2, filters=bytes(range(5)))
    yield Case("png: all filters in turn, 16 bits", bits16, expected)
    raw = packed(rows, 8)
    for level in (0, 9):
        yield Case(f"png: level {level}", start + chunk(b"IDAT", zlib.compress(raw, level)) + end, expected)
    by_byte = b"".join(chunk(b"IDAT", pixels[n : n + 1]) for n in range(len(pixels)))
    yield Case("png: a chunk for each byte", start + by_byte + end, expected)
    empty = chunk(b"IDAT") + chunk(b"IDAT", pixels) + chunk(b"IDAT")
    yield Case("png: empty chunks of pixels", start + empty + end, expected)
    yield Case("png: something behind its end", data + b"a trailer", expected)
    for kind, body in BESIDE.items():
        yield Case(f"png: {kind.decode()}", with_chunks(data, chunk(kind, body)), expected)
    # Texts by which Pillow itself keeps what it found; no text of a file may stand in for one of them.
    for word in (b"icc_profile", b"transparency", b"exif", b"gamma", b"dpi", b"interlace", b"Raw profile type exif"):
        yield Case(f"png: a text called {word.decode()}", with_chunks(data, chunk(b"tEXt", word + b"\0none")), expected)
    one = chunk(b"acTL", struct.pack("!II", 1, 0)) + chunk(
        b"fcTL", struct.pack("!IIIIIHHBB", 0, 24, 16, 0, 0, 1, 1, 0, 0)
    )
    yield Case("apng: of one frame", with_chunks(data, one), expected)
    yield Case("png: EXIF that is none", with_chunks(data, chunk(b"eXIf", b"rubbish")), expected)


BESIDE = {
    b"gAMA": struct.pack("!I", 45455),
    b"cHRM": struct.pack("!8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"sRGB": b"\0",
    b"pHYs": struct.pack("!IIB", 2835, 2835, 1),
    b"tIME": bytes([7, 230, 1, 1, 0, 0, 0]),
    b"bKGD": bytes(6),
    b"sBIT": b"\5\6\5",
    b"sPLT": b"some\0\x08" + bytes(6),
    b"prIv": b"a program's own",
    b"tRNS": b"\1",  # too short for this picture: says nothing
    b"gAMa": b"",
    b"iTXt": b"Title\0\0\0en\0Titel\0" + "Öl".encode(),
    b"zTXt": b"Comment\0\0" + zlib.compress(b"some words"),
    b"tEXt": b"Comment\0" + b"long " * 100_000,
    b"fdAT": bytes(8),
    b"iCCP": b"none\0\0rubbish",
}


def turned() -> Iterator[Case]:
    for orientation in range(9):
        data = with_chunks(small(), chunk(b"eXIf", exif(orientation, order="<>"[orientation % 2])))
        yield Case(f"png: EXIF orientation {orientation}", data, Decodes(upright(ramp(), orientation)))


def upright(stored: Pixels, orientation: int) -> Pixels:
    """As EXIF 2.32 has it: which side of the stored rows and columns is the top, which the left."""
    rows, columns = (-1 if orientation in flipped else 1 for flipped in ((3, 4, 6, 7), (2, 3, 7, 8)))
    pixels = stored[::rows, ::columns]
    return pixels.transpose(1, 0, 2) if orientation in {5, 6, 7, 8} else pixels
