"""The renderer: the same bytes for the same scene, and a change of one thing seen there and nowhere else."""

import hashlib
import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.inference.backends.proof.furniture import OUTER
from services.inference.backends.proof.label import ink
from services.inference.backends.proof.render import render
from services.inference.backends.proof.scene import read, stream
from tests.inference.scenes import EVERY_FORM, LAYOUTS, Drawn, Pixels, draw, opened, plain, scene

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = """
import hashlib, json, sys
from services.inference.backends.proof.render import render
asked = json.loads(sys.argv[1])
comp = render(asked, seed=7, width=256, height=256)
print(hashlib.sha256(comp.image + comp.mask).hexdigest())
"""


def _digest(drawn: Drawn) -> str:
    return hashlib.sha256(drawn.comp.image + drawn.comp.mask).hexdigest()


def _changed(one: Drawn, other: Drawn) -> Pixels:
    """Where two comps differ."""
    return np.asarray((one.pixels != other.pixels).any(axis=2))


def _outside_furniture(drawn: Drawn) -> tuple[slice, slice]:
    edge = round(min(drawn.mask.shape) * OUTER)
    return slice(edge, -edge), slice(None)


@pytest.mark.parametrize("form", ["amber bottle", "candle", "boxed soap"])
def test_another_process_draws_the_same_bytes(form: str) -> None:
    command = [sys.executable, "-c", ELSEWHERE, json.dumps(scene(form=form))]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "4711", "OPENBLAS_NUM_THREADS": "1"}
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    assert other.stdout.strip() == _digest(draw(form=form))


def test_threads_that_draw_at_once_draw_the_same_bytes() -> None:
    forms = ["pump", "tin", "diffuser", "jar"] * 3
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda form: _digest(draw(form=form)), forms))
    alone = {form: _digest(draw(form=form)) for form in set(forms)}
    assert together == [alone[form] for form in forms]


def test_the_picture_and_its_mask_are_of_the_size_that_was_asked() -> None:
    drawn = draw(size=(333, 250))
    assert drawn.pixels.shape == (250, 333, 3)
    assert drawn.mask.shape == (250, 333)


def test_another_wall_leaves_every_pixel_of_the_product_alone() -> None:
    other = draw(wall="brine")
    product = plain().mask == 255
    assert product.sum() > 1000
    assert np.array_equal(plain().mask, other.mask)
    assert not _changed(plain(), other)[product].any()
    assert _changed(plain(), other)[plain().mask == 0].mean() > 0.5


def test_another_accent_leaves_product_and_corners_alone() -> None:
    changed = _changed(plain(), draw(accent="linden"))
    assert changed.any()
    assert not changed[plain().mask == 255].any()
    assert not changed[:, :20].any()
    assert not changed[:, -20:].any()


@pytest.mark.parametrize("form", EVERY_FORM)
def test_another_tint_leaves_every_pixel_around_the_product_alone(form: str) -> None:
    one, other = draw(form=form, tint="clay"), draw(form=form, tint="#2E4B52")
    changed = _changed(one, other)
    assert np.array_equal(one.mask, other.mask)
    assert not changed[one.mask == 0].any()
    assert changed[one.mask == 255].mean() > 0.1


def test_another_label_changes_only_the_label() -> None:
    other = draw(label={"title": "Salt & Linden", "line": "No. 5 — 200 ml"})
    changed = _changed(plain(), other)
    assert changed.any()
    assert not changed[plain().mask < 255].any()
    assert changed.mean() < 0.03


def test_another_season_moves_the_light_and_not_the_product() -> None:
    other = draw(season="summer")
    assert np.array_equal(plain().mask, other.mask)
    assert _changed(plain(), other).any()


@pytest.mark.parametrize(("side", "variant", "lit"), [("left", 1, 0), ("right", 1, 1), ("left", 2, 1), ("left", 3, 0)])
def test_the_light_comes_from_the_side_that_is_named_and_the_second_variant_reverses_it(
    side: str, variant: int, lit: int
) -> None:
    drawn = draw(form="candle", light_side=side, variant=variant)
    columns = np.nonzero(drawn.mask.max(axis=0) == 255)[0]
    middle = (columns[0] + columns[-1]) // 2
    halves = [
        drawn.pixels[:, part][drawn.mask[:, part] == 255].mean() for part in (slice(0, middle), slice(middle, None))
    ]
    assert halves[lit] > halves[1 - lit] + 5


def test_another_seed_moves_light_and_props_and_not_the_product() -> None:
    other = draw(seed=8)
    assert np.array_equal(plain().mask, other.mask)
    assert _changed(plain(), other).mean() > 0.5


def test_one_decision_draws_nothing_from_the_stream_of_another() -> None:
    before = stream(7, "light").uniform(size=4)
    stream(7, "props", "stone", "first").uniform(size=100)
    assert np.array_equal(stream(7, "light").uniform(size=4), before)
    assert not np.array_equal(stream(7, "props").uniform(size=4), before)
    assert not np.array_equal(stream(8, "light").uniform(size=4), before)


@pytest.mark.parametrize("headline", ["Evenings that smell of salt", "دفء الشتاء في زجاجة", "菩提樹の花、冬の一杯に。"])
def test_a_headline_is_not_drawn(headline: str) -> None:
    assert _digest(draw(headline=headline, locale="ja")) == _digest(plain())


def test_letters_that_no_typeface_has_become_bars() -> None:
    def texture(name: str) -> Any:
        return ink(read(scene(label={}, name=name)).product, width=200, height=200, room=160, frame=False, plain=False)

    arabic, japanese, latin = texture("دفء الشتاء"), texture("菩提樹の花"), texture("Body Oil")
    assert set(np.unique(arabic)) == set(np.unique(japanese)) == {0, np.float32(150 / 255)}
    assert len(np.unique(latin)) > 10


def test_an_unknown_form_is_a_plain_carton_with_its_sku() -> None:
    unknown, carton = draw(form="hovercraft"), draw(form="carton")
    assert np.array_equal(unknown.pixels, carton.pixels)
    assert _changed(unknown, draw(form="hovercraft", sku="SL-NEW-002"))[unknown.mask == 255].any()
    assert not np.array_equal(unknown.mask, plain().mask)


@pytest.mark.parametrize("form", ["Amber-Bottle", "amber_bottle", " amber  bottle "])
def test_a_form_is_found_however_it_is_spelled(form: str) -> None:
    assert np.array_equal(draw(form=form).mask, plain().mask)


@pytest.mark.parametrize(("layout", "variant"), list(itertools.product(LAYOUTS, (1, 2, 3))))
@pytest.mark.parametrize("form", [*EVERY_FORM, "hovercraft"])
def test_every_product_stands_in_the_frame_with_its_focal_point_on_it(form: str, layout: str, variant: int) -> None:
    width, height = LAYOUTS[layout]
    drawn = draw(form=form, layout=layout, variant=variant, size=(width // 2, height // 2))
    height, width = drawn.mask.shape
    left, top, right, bottom = drawn.comp.live_area
    x, y = drawn.comp.focal
    assert 0 <= left < x < right <= 1
    assert 0 <= top < y < bottom <= 1
    assert drawn.mask[int(y * height), int(x * width)] == 255
    rows, columns = np.nonzero(drawn.mask > 127)
    assert left * width <= columns.min()
    assert columns.max() < right * width
    assert top * height <= rows.min()
    assert rows.max() < bottom * height
    assert rows.min() > 0  # nothing is cut off
    assert rows.max() < height - 1
    assert 0.02 < (drawn.mask > 127).mean() < 0.5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", ["diffuser", "tin"])
def test_variants_of_one_request_are_different_pictures(form: str, layout: str) -> None:
    variants = [draw(form=form, layout=layout, variant=variant).pixels.astype(float) for variant in (1, 2, 3)]
    for one, other in itertools.combinations(variants, 2):
        # In the mean over blocks of 16 px, so that grain counts for nothing.
        blocks = [part.reshape(16, part.shape[0] // 16, -1, 16, 3).mean(axis=(1, 3)) for part in (one, other)]
        assert np.abs(blocks[0] - blocks[1]).mean() > 6


@pytest.mark.parametrize(("space", "half"), [("left", slice(0, 200)), ("right", slice(-200, None))])
@pytest.mark.parametrize("variant", [1, 2, 3])
def test_the_room_for_a_headline_stays_empty(space: str, half: slice, variant: int) -> None:
    one, other = (
        draw(layout="hero", headline_space=space, variant=variant, accent=accent, form="diffuser")
        for accent in ("clay", "bone")
    )
    rows, _ = _outside_furniture(one)
    assert not one.mask[:, half].any()
    assert not _changed(one, other)[rows, half].any()  # no disc either


def test_highlights_are_never_clipped() -> None:
    for form in ("candle", "pump", "mug"):
        assert (draw(form=form, wall="bone", accent="bone").pixels == 255).all(axis=2).mean() < 0.002


def test_a_candle_lights_the_wall_without_an_edge() -> None:
    lit = draw(form="candle", wall="brine", accent="brine", size=(512, 512)).pixels.astype(float)
    above = lit[60:150, 150:360].mean(axis=2)
    smooth = above.reshape(9, 10, 21, 10).mean(axis=(1, 3))
    assert np.abs(np.diff(smooth, axis=0)).max() < 16
    assert np.abs(np.diff(smooth, axis=1)).max() < 16


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"product": None, "palette": [], "variant": "two", "layout": 5, "season": ["winter"]},
        {
            "product": {"form": 7, "label": "none", "tint": "no colour", "sku": "x" * 500},
            "wall": "#12345",
            "accent": {},
        },
        {
            "variant": -3,
            "palette": {"bone": "red", "ink": 4},
            "wall": "bone",
            "headline_space": "under",
            "layout": "hero",
        },
        {"product": {"form": "candle", "name": "\u0000\ufffe", "label": {"title": "\U0001f56f" * 40, "line": " "}}},
    ],
)
def test_whatever_a_scene_lacks_has_a_default(strange: dict[str, Any]) -> None:
    comp = render(strange, seed=1, width=160, height=120)
    assert opened(comp.image).shape == (120, 160, 3)


@pytest.mark.parametrize("size", [(64, 64), (65, 333), (700, 66), (97, 101)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_size_draws(size: tuple[int, int], layout: str) -> None:
    drawn = draw(size=size, layout=layout, form="candle")
    assert drawn.pixels.shape == (size[1], size[0], 3)
    assert drawn.mask.max() == 255


def test_the_manifest_draws_the_comp_again() -> None:
    manifest = json.loads(json.dumps(plain().comp.manifest))
    again = render(manifest["scene"], seed=manifest["seed"], width=manifest["width"], height=manifest["height"])
    assert again.image == plain().comp.image
    assert manifest["renderer"] == "calotype-proof/1"
    assert manifest["versions"]["numpy"]


def test_steps_are_told_and_may_end_the_drawing() -> None:
    told: list[tuple[int, int]] = []

    def until_two(step: int, steps: int) -> None:
        told.append((step, steps))
        if step == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        render(scene(), seed=1, width=64, height=64, step=until_two)
    assert told == [(1, 5), (2, 5)]
