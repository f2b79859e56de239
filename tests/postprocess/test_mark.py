"""The operation `mark`, from a recipe to the file that a child makes."""

import hashlib
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from services.postprocess.children import Children
from services.postprocess.operations import Equipment, Frame, Materials, operations
from services.postprocess.pictures import Picture
from services.postprocess.pixels import pixels_of
from services.postprocess.settings import PostprocessSettings
from shared.mark_keys import fingerprint
from shared.marking import LEAST, Pixels, luma
from shared.marking import read as read_mark
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.photos import leaves
from tests.postprocess.pictures import read, written

KEY = hashlib.sha256(b"of these tests").digest()
ASSET = UUID("6f1c9a52-7d0e-5b7c-9c1e-2f0a4c8d1b63")


def marked(pixels: Pixels, *, key: bytes | None = KEY) -> Frame:
    materials = Materials(asset=ASSET, equipment=Equipment(mark_key=key))
    frame = Frame.of(Picture(pixels), wanted=(512, 512), materials=materials)
    return operations()["mark"].apply(frame, {})


def test_the_pixels_carry_the_assets_id_and_the_manifest_names_the_key_by_its_fingerprint() -> None:
    frame = marked(leaves(3))
    mark = read_mark(luma(frame.pixels()), KEY)
    assert mark is not None and mark.asset == "6f1c9a52-7d0e"
    assert frame.notes == (("mark", f"key {fingerprint(KEY)}"),)
    (verdict,) = frame.verdicts
    assert (verdict.check, verdict.ok, verdict.number, verdict.limit) == ("mark", True, mark.score, LEAST)


def test_without_a_key_the_picture_stays_as_it_is_and_the_reviewer_is_told() -> None:
    pixels = leaves(3)
    frame = marked(pixels, key=None)
    assert frame.pixels() is pixels
    (verdict,) = frame.verdicts
    assert not verdict.ok
    assert "CALOTYPE_MARK_KEY is not set" in verdict.sentence


def test_a_picture_without_room_stays_as_it_is_and_the_reviewer_is_told() -> None:
    pixels = np.full((400, 400, 3), 255, np.uint8)
    frame = marked(pixels)
    assert (frame.pixels() == 255).all()
    assert [(verdict.ok, verdict.number) for verdict in frame.verdicts] == [(False, 0)]
    assert frame.notes == ()


def test_the_key_is_not_shown_with_the_equipment() -> None:
    assert KEY.hex() not in repr(Equipment(mark_key=KEY)) and str(KEY) not in repr(Equipment(mark_key=KEY))


async def test_a_child_marks_the_files_that_a_recipe_asks_it_to() -> None:
    children = Children(count=1, mark_key=KEY)
    photo = written(Image.fromarray(leaves(4)))
    steps = [step("crop"), step("resize"), step("mark")]
    web = recipe(rendition("small", 500, 400, format="webp", quality=80, operations=steps))
    order = {"recipes": {"web": web.model_dump(mode="json")}, "asset": str(ASSET)}
    (made,) = (await children.develop(photo, order)).made
    await children.stop()
    mark = read_mark(luma(pixels_of(read(made.data).convert("RGB"))), KEY)
    assert mark is not None and mark.asset == "6f1c9a52-7d0e"
    assert [verdict.check for verdict in made.verdicts if verdict.ok] == ["mark"]
    assert KEY.hex() not in str(made.manifest)


def test_a_stage_with_a_key_that_is_none_does_not_start_and_does_not_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_MARK_KEY", "5ec7e7")
    with pytest.raises(ValidationError, match="a mark key is 64 hexadecimal digits") as refused:
        PostprocessSettings()
    assert "5ec7e7" not in str(refused.value)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_MARK_KEY", KEY.hex())
    assert PostprocessSettings().mark() == KEY
    assert KEY.hex() not in repr(PostprocessSettings())
