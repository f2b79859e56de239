"""What goes with an original and is gone, or is no picture: the files are made without it, and a person told."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from services.postprocess.domain import Processed
from services.postprocess.handler import work_of
from services.postprocess.worker import Finished
from shared import ids
from shared.blobs import blob_key, library_key
from shared.comparing import Verdict as Again
from shared.events import ImageGenerated, Verdict
from shared.library.documents import Brand, BrandProduct, Recipe, Rubric
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.images import WORKSPACE, file, generated
from tests.postprocess.pictures import GREEN, grainy, plain, written
from tests.postprocess.test_replaying import Bench
from tests.postprocess.test_worker import lease_of

ORIGINAL = written(grainy(96, 96))
LOGO = written(plain(24, 12, GREEN))
NO_PICTURE = b"<svg/>"
MASK = written(plain(96, 96, (0, 0, 0)))


class Case:
    """A brand's picture of these bytes, named by brand, recipe and rubric; in the store or not."""

    def __init__(self, folder: Path, *steps: dict[str, Any], picture: bytes = LOGO, by: tuple[str, ...] = ()) -> None:
        self.bench = Bench(folder)
        self.picture, self.sha256 = picture, hashlib.sha256(picture).hexdigest()
        self.rubric = Rubric(name="plain", version=1, owner="design", rejecting_checks=list(by))
        product = BrandProduct(sku="OIL-100", name="Oil", photo=self.sha256)
        self.brand = Brand(
            name="salt", version=2, owner="design", title="Salt", marks={"logo": self.sha256}, products=[product]
        )
        self.web: Recipe = recipe(rendition("named", 64, 64, operations=[step("crop"), step("resize"), *steps]))

    def image(self, **fields: Any) -> ImageGenerated:
        told = {"brand": self.brand.pin(), "rubric": self.rubric.pin(), "live_area": (0.2, 0.2, 0.8, 0.8)}
        return generated(ORIGINAL, self.web, **(told | fields))

    async def run(self, event: ImageGenerated, *, stored: bool) -> Processed:
        blobs = self.bench.blobs
        await blobs.put(event.original.key, ORIGINAL, media_type="image/png")
        for document in (self.web, self.brand, self.rubric):
            key = library_key(WORKSPACE, document.pin().digest)
            await blobs.put(key, document.canonical(), media_type="application/json")
        if stored:
            key = blob_key(WORKSPACE, ids.source_id(WORKSPACE, self.sha256), self.sha256, "png")
            await blobs.put(key, self.picture, media_type="image/png")
        return await self.processed(event)

    async def processed(self, event: ImageGenerated) -> Processed:
        outcome = await self.bench.processor.run(lease_of(work_of(event)))
        assert isinstance(outcome.record, Finished)
        assert isinstance(outcome.record.ending, Processed), outcome.record.ending
        return outcome.record.ending


def of(made: Processed, check: str) -> Verdict:
    (found,) = [verdict for verdict in made.checks if verdict.check == check]
    return found


GONE, NOT_ONE = "is not stored any more", "is refused as unsupported_media_type"


@pytest.mark.parametrize(("picture", "stored", "why"), [(LOGO, False, GONE), (NO_PICTURE, True, NOT_ONE)])
@pytest.mark.parametrize(
    ("name", "params"), [("logo", {}), ("badge", {"mark": "logo"}), ("watermark", {"mark": "logo"})]
)
async def test_a_mark_that_is_gone_or_no_picture_is_left_out_and_told(
    tmp_path: Path,
    name: str,
    params: dict[str, Any],
    picture: bytes,
    stored: bool,  # noqa: FBT001
    why: str,
) -> None:
    case = Case(tmp_path, step(name, **params), picture=picture)
    made = await case.run(case.image(), stored=stored)
    assert [file.rendition for file in made.files] == ["original", "named"]
    said = of(made, name)
    assert (said.ok, said.blocking) == (False, True)
    assert f"web/named: The {name} is left out: the picture of the brand's mark logo {why}" in said.sentence


@pytest.mark.parametrize(("picture", "stored", "why"), [(LOGO, False, GONE), (NO_PICTURE, True, NOT_ONE)])
@pytest.mark.parametrize("check", ["label", "fidelity"])
async def test_without_the_approved_photo_a_person_compares_and_nothing_is_rejected(
    tmp_path: Path,
    check: str,
    picture: bytes,
    stored: bool,  # noqa: FBT001
    why: str,
) -> None:
    case = Case(tmp_path, picture=picture, by=(check,))
    said = of(await case.run(case.image(), stored=stored), check)
    assert (said.ok, said.blocking, said.rejecting) == (False, True, False)
    assert f"its approved photo {why}" in said.sentence


async def test_without_the_shape_that_came_with_it_a_product_is_found_and_a_person_told(tmp_path: Path) -> None:
    case = Case(tmp_path, step("cut-out"))
    event = case.image()
    gone = file(event.asset_id, MASK, width=96, height=96)
    made = await case.run(event.model_copy(update={"mask": gone}), stored=False)
    said = {verdict.sentence: verdict for verdict in made.checks if verdict.check == "cut-out"}
    told = said["The shape that came with the image is not stored any more: the files are made without it."]
    assert told.blocking
    assert any("was found by its colours" in sentence for sentence in said)


async def test_the_manifest_names_what_was_asked_for_and_missing_and_makes_the_same_again(tmp_path: Path) -> None:
    case = Case(tmp_path, step("logo"))
    event = case.image()
    made = await case.run(event, stored=False)
    assert made.manifest is not None
    manifest = await case.bench.manifest(event, made.manifest.sha256)
    assert (manifest["inputs"], manifest["missing"]) == ({"mark/logo": case.sha256}, ["mark/logo"])
    await case.bench.blobs.put(
        blob_key(WORKSPACE, ids.source_id(WORKSPACE, case.sha256), case.sha256, "png"), LOGO, media_type="image/png"
    )
    assert (await case.bench.replay(event, made.manifest.sha256)).verdict is Again.EXACT
    whole = await case.processed(event)
    assert whole.manifest is not None
    assert "missing" not in await case.bench.manifest(event, whole.manifest.sha256)
