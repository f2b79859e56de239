"""The invisible mark: it is read back from what the world does to pictures, and never where there is none."""

import math
import os
from collections.abc import Iterator
from uuid import UUID, uuid4

import cv2
import numpy as np
import pytest

from services.postprocess.marking import write
from shared.mark_keys import fingerprint, mark_key
from shared.marking import BITS, LEAST, Mark, Pixels, carriers, luma, read, word
from shared.marking import _decoded as decoded
from tests.inference.scenes import EVERY_FORM, draw
from tests.postprocess.attacks import ATTACKS
from tests.postprocess.photos import leaves, likeness

KEY, OTHER = bytes(range(32)), bytes(32)
ASSET = UUID("6f1c9a52-7d0e-5b7c-9c1e-2f0a4c8d1b63")


def found(pixels: Pixels, key: bytes = KEY) -> str | None:
    mark = read(luma(pixels), key)
    return mark.asset if mark else None


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return leaves(1)


@pytest.fixture(scope="module")
def marked(photo: Pixels) -> Pixels:
    return write(photo, asset=ASSET, key=KEY)


def test_the_beginning_of_the_assets_id_is_read_from_the_pixels_alone(marked: Pixels) -> None:
    assert found(marked) == "6f1c9a52-7d0e"


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_still_read_after(attack: str, marked: Pixels) -> None:
    assert found(ATTACKS[attack](marked)) == "6f1c9a52-7d0e"


def test_another_key_reads_nothing(marked: Pixels) -> None:
    assert found(marked, OTHER) is None


def test_nothing_is_read_where_nothing_was_written(photo: Pixels) -> None:
    assert found(photo) is None


def test_a_picture_of_one_colour_reads_as_nothing() -> None:
    assert found(np.full((512, 512, 3), 90, np.uint8)) is None


def test_nobody_sees_it(photo: Pixels, marked: Pixels) -> None:
    psnr, ssim = likeness(photo, marked)
    assert psnr >= 40
    assert ssim >= 0.98


def test_a_white_ground_stays_white_to_the_last_bit(photo: Pixels) -> None:
    pixels = np.full((700, 700, 3), 255, np.uint8)
    pixels[100:600, 100:600] = photo[:500, :500]
    out = write(pixels, asset=ASSET, key=KEY)
    assert found(out) == "6f1c9a52-7d0e"
    assert (out[:80] == 255).all() and (out[620:] == 255).all()


def test_a_wholly_white_picture_is_left_as_it_is() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    assert (write(white, asset=ASSET, key=KEY) == white).all()


def test_what_is_see_through_stays_so_and_carries_nothing(photo: Pixels) -> None:
    alpha = np.full((*photo.shape[:2], 1), 255, np.uint8)
    alpha[:, :100] = 0
    pixels = np.ascontiguousarray(np.concatenate([photo, alpha], axis=2))
    out = write(pixels, asset=ASSET, key=KEY)
    assert found(out) == "6f1c9a52-7d0e"
    assert (out[:, :, 3:] == alpha).all()
    assert (out[:, :90] == pixels[:, :90]).all()


@pytest.mark.parametrize("size", [(300, 250), (1500, 500)])
def test_every_shape_carries_it(size: tuple[int, int]) -> None:
    pixels = leaves(5, *size)
    out = write(pixels, asset=ASSET, key=KEY)
    assert out.shape == pixels.shape
    assert found(out) == "6f1c9a52-7d0e"


def test_the_picture_that_was_given_is_not_touched(photo: Pixels) -> None:
    before = photo.copy()
    write(photo, asset=ASSET, key=KEY)
    assert (photo == before).all()


def test_bits_that_are_read_wrong_are_mended_by_the_crc() -> None:
    sums = 3 * word(ASSET)
    sums[[3, 40, 60]] *= -0.1
    assert decoded(sums) == Mark("6f1c9a52-7d0e", 22.8)


def test_a_word_that_is_told_too_faintly_is_not_believed() -> None:
    faint = word(ASSET) * LEAST / math.sqrt(BITS)
    assert decoded(faint * 1.01) is not None
    assert decoded(faint * 0.99) is None


def test_a_certain_word_that_disagrees_with_its_crc_is_not_believed() -> None:
    sums = 3 * word(ASSET)
    sums[:20] *= -1
    assert decoded(sums) is None


def test_a_mark_is_invented_less_than_once_in_a_billion_pictures() -> None:
    assert 2.0**48 * math.exp(-(LEAST**2) / 2) < 1e-9


def test_the_carriers_of_a_key_never_change() -> None:
    """They are drawn by SHAKE-256, not by a library's generator: pictures of years ago stay readable."""
    chosen = carriers(KEY)
    assert chosen.at.shape == (64, 491)
    assert chosen.at[0, :4].tolist() == [66156, 103488, 39993, 10458]
    assert chosen.signs[0, :8].astype(int).tolist() == [-1, 1, 1, 1, -1, 1, 1, 1]


@pytest.mark.parametrize("text", ["", "ab", "0" * 63, "g" * 64, "0" * 66])
def test_a_key_that_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits") as refused:
        mark_key(text)
    assert not text or text not in str(refused.value)


def test_a_key_is_named_by_a_fingerprint_that_does_not_contain_it() -> None:
    assert mark_key(KEY.hex()) == KEY
    assert len(fingerprint(KEY)) == 16
    assert fingerprint(KEY) != fingerprint(OTHER)
    assert fingerprint(KEY) not in KEY.hex()


def pictures() -> Iterator[Pixels]:
    yield from (leaves(seed) for seed in range(24))
    for number, form in enumerate(EVERY_FORM):
        yield draw(form=form, seed=number, size=(512, 512), variant=1 + number % 2).pixels


@pytest.mark.live
def test_it_is_read_after_every_attack_from_photographs_and_proofs() -> None:
    wrong = []
    for pixels in pictures():
        asset = uuid4()
        out = write(pixels, asset=asset, key=KEY)
        psnr, ssim = likeness(pixels, out)
        assert psnr >= 40 and ssim >= 0.98
        wrong += [attack for attack, harm in ATTACKS.items() if found(harm(out)) != str(asset)[:13]]
    assert wrong == []


@pytest.mark.live
def test_pictures_without_a_mark_carry_none() -> None:
    """Parts of photographs, half of them of such as carry another key's mark."""
    drawing = np.random.default_rng(11)
    scenes = [leaves(seed, 1100, 1100) for seed in range(100, 104)]
    scenes += [write(scene, asset=ASSET, key=OTHER) for scene in scenes]
    greys = [cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY).astype(np.float32) for scene in scenes]
    for number in range(int(os.environ.get("CALOTYPE_UNMARKED", "500"))):
        left, top = drawing.integers(0, 1100 - 512, 2)
        part = greys[number % 8][top : top + 512, left : left + 512]
        assert read(np.ascontiguousarray(part), KEY) is None
