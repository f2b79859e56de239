"""The original that is published has the very pixels that were handed over, and nothing that stood beside them."""

import io
import struct
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from PIL import Image, ImageOps

from services.postprocess.files import complete
from services.postprocess.originals import whole
from shared.pictures import Admitted, Limits, admitted
from shared.pictures.cleaned import cleaned
from shared.pictures.opening import opened
from tests.postprocess.corpus import beside, groups, jpegs, pngs
from tests.postprocess.corpus.cases import Case
from tests.postprocess.corpus.chunks import chunk, of_png, of_webp, segment, with_chunks, with_segments
from tests.postprocess.images import generated
from tests.postprocess.in_process import InProcess
from tests.postprocess.pictures import plain, written
from tests.postprocess.signed import developed

LIMITS = Limits()
PACKET = b"<x:xmpmeta>ours</x:xmpmeta>"
BOX = b"\0\0\0\x1ejumb\0\0\0\x16jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71"


def packed(let_in: Admitted) -> object:
    """The pixels as they are kept; a WebP has its picture alone or behind a header."""
    return dict(of_webp(let_in.data)) | {b"VP8X": b""} if let_in.format == "WEBP" else let_in.data


def shown(data: bytes) -> tuple[str, list[int], bytes | None]:
    """What any viewer takes for it: the pixels upright, and the profile of their colours."""
    with Image.open(io.BytesIO(data)) as image:
        profile = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)
        return upright.mode, [*upright.size, *upright.tobytes()], profile


@pytest.mark.parametrize("group", groups.GOOD.values(), ids=groups.GOOD)
def test_every_picture_that_is_let_in_is_published_with_the_same_pixels(group: Callable[[], Iterable[Case]]) -> None:
    for case in group():
        let_in = admitted(case.data, LIMITS)
        published = whole(let_in, PACKET).data
        again = admitted(published, LIMITS)
        assert packed(again) == packed(let_in), f"{case}: as they were"
        assert again[:3] == let_in[:3] and again[4:] == let_in[4:], f"{case}: size, way up and colours"
        assert np.array_equal(np.asarray(opened(published, LIMITS)), np.asarray(opened(case.data, LIMITS))), case
        with Image.open(io.BytesIO(published)) as image:
            assert image.info.get("icc_profile") == let_in.profile, case
            assert image.getexif().get(0x0112, 1) == let_in.orientation, f"{case}: for others, not only for us"
        once = cleaned(let_in)
        assert cleaned(admitted(once, LIMITS)) == once, f"{case}: cleaned once, it stays so"


@pytest.mark.parametrize(("kind", "data"), beside.told().items(), ids=list(beside.told()))
def test_what_a_provider_wrote_beside_its_pixels_is_not_published(kind: str, data: bytes) -> None:
    assert beside.SECRETS & beside.found(data), "the file says it in the first place"
    let_in = admitted(data, LIMITS)
    assert beside.found(cleaned(let_in._replace(profile=None))) == set()  # a profile is kept whole, with its texts
    assert whole(let_in, PACKET).data.count(PACKET) == 1


def test_a_thumbnail_in_a_jpegs_first_segment_and_words_behind_adobes_are_taken_out() -> None:
    thumbnail = segment(0xE0, b"JFIF\0" + struct.pack("!BBBHHBB", 1, 2, 1, 72, 72, 8, 8) + b"secret" * 32)
    adobe = segment(0xEE, b"Adobe" + struct.pack("!HHHB", 100, 0, 0, 1) + b"secret")
    bald = jpegs.small()
    data = with_segments(bald[:2] + bald[20:], thumbnail, adobe)
    bare = cleaned(admitted(data, LIMITS))
    assert b"secret" not in bare
    with Image.open(io.BytesIO(bare)) as image:
        assert (image.info["jfif_density"], image.info["adobe_transform"]) == ((72, 72), 1)
    assert shown(bare) == shown(data)


def test_a_png_keeps_the_numbers_that_say_which_colours_are_meant() -> None:
    numbers = {b"gAMA": struct.pack("!I", 45455), b"cHRM": struct.pack("!8I", *range(8)), b"cICP": bytes((9, 16, 0, 1))}
    odd = chunk(b"sRGB", b"\0 and a secret")
    data = with_chunks(pngs.small(), odd, *(chunk(*told) for told in numbers.items()))
    kept = dict(of_png(cleaned(admitted(data, LIMITS))))
    assert {kind: kept.get(kind) for kind in numbers} == numbers
    assert b"sRGB" not in kept, "it is longer than it can be"


async def test_an_unsigned_original_is_published_clean_too_and_lost_credentials_are_told() -> None:
    came = with_chunks(written(plain()), chunk(b"caBX", BOX), chunk(b"tEXt", b"Author\0" + beside.SECRET))
    event = generated(came)
    made = await developed(came, event, children=InProcess())
    (published,) = made.made
    assert published.rendition == "original" and b"digitalsourcetype" in published.data
    assert beside.SECRET not in published.data and b"jumb" not in published.data
    processed, stored = complete(event, made, blocking=frozenset())
    assert [each.file.sha256 for each in stored][:1] == [file.sha256 for file in processed.files]
    assert processed.original.sha256 == event.original.sha256, "what was handed over stays what a replay speaks of"
    (said,) = [verdict for verdict in processed.checks if verdict.check == "provenance"]
    assert not said.ok and "the credentials it came with" in said.sentence


@pytest.mark.parametrize(("beside_it", "told"), [(b"jumb", False), (BOX, True), (b"dcterms:provenance", True)])
async def test_pixels_that_look_like_the_name_of_a_box_are_no_credentials(beside_it: bytes, *, told: bool) -> None:
    came = with_chunks(written(plain()), chunk(b"prVt", beside_it))
    made = await developed(came, generated(came), children=InProcess())
    assert (made.unsigned is not None) is told
