"""Files made again from their manifest, with a store in a folder; real children are in the live tier."""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.postprocess.development import Development
from services.postprocess.domain import Processed
from services.postprocess.handler import work_of
from services.postprocess.previewing import Previews, linted
from services.postprocess.replaying import Replayed, replay
from services.postprocess.signing import Chain
from services.postprocess.studio import Studio
from services.postprocess.worker import Finished, Processor
from shared import ids
from shared.blobs import FileBlobs, blob_key, library_key
from shared.comparing import Verdict, measured
from shared.events import File, ImageGenerated
from shared.http import HttpProblem
from shared.library.documents import Brand, Document, Recipe
from shared.library.pinned import Library
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.images import RUBRIC, WORKSPACE, generated
from tests.postprocess.in_process import InProcess
from tests.postprocess.pictures import GREEN, grainy, plain, written
from tests.postprocess.test_signing import KEYS, certificate
from tests.postprocess.test_worker import lease_of

ORIGINAL = written(grainy(96, 96))
LOGO = written(plain(24, 12, (*GREEN, 200)))
LOGO_SHA256 = hashlib.sha256(LOGO).hexdigest()
BRAND = Brand(
    name="salt", version=2, owner="design", title="Salt", palette={"sea": "#3366AA"}, marks={"logo": LOGO_SHA256}
)
WEB = recipe(
    rendition("small", 48, 48, format="webp"),
    rendition("named", 64, 32, operations=[step("crop"), step("resize"), step("logo"), step("text", text="headline")]),
)
TIGHT = recipe(rendition("tight", 40, 20, quality=61, operations=[step("crop", fill=0.9), step("resize")]), version=2)


class Bench:
    """An asset version as the pipeline stores it, and what looks at it."""

    def __init__(self, folder: Path) -> None:
        self.blobs = FileBlobs(folder, public_url="http://localhost", secret="s")
        self.children = InProcess()
        self.studio = Studio(blobs=self.blobs, library=Library(self.blobs), children=self.children)
        # No test here asks by a recipe's name, which the database keeps.
        self.previews = Previews(self.studio, pool=None)  # type: ignore[arg-type]
        self.processor = Processor(
            blobs=self.blobs,
            library=Library(self.blobs),
            children=self.children,
            progress=lambda _: None,
            proxies=(32,),
        )
        self.files: list[File] = []

    async def process(self, event: ImageGenerated, *documents: Document) -> str:
        """Returns the manifest's hash."""
        await self.blobs.put(event.original.key, ORIGINAL, media_type="image/png")
        owner = ids.source_id(WORKSPACE, LOGO_SHA256)
        await self.blobs.put(blob_key(WORKSPACE, owner, LOGO_SHA256, "png"), LOGO, media_type="image/png")
        for document in (RUBRIC, BRAND, *documents):
            key = library_key(WORKSPACE, document.pin().digest)
            await self.blobs.put(key, document.canonical(), media_type="application/json")
        outcome = await self.processor.run(lease_of(work_of(event)))
        assert isinstance(outcome.record, Finished)
        made = outcome.record.ending
        assert isinstance(made, Processed)
        assert made.manifest is not None
        self.files = list(made.files)
        return made.manifest.sha256

    async def rewrite(self, event: ImageGenerated, sha256: str, **fields: Any) -> str:
        """The manifest as another release, or another machine, would have written it; None takes a field away."""
        told = orjson.loads(await self.blobs.get(blob_key(WORKSPACE, event.asset_id, sha256, "json"))) | fields
        data = orjson.dumps({name: value for name, value in told.items() if value is not None})
        return await self.put(event, data, "json")

    async def put(self, event: ImageGenerated, data: bytes, extension: str) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        media_type = {"json": "application/json", "webp": "image/webp", "jpg": "image/jpeg"}[extension]
        await self.blobs.put(blob_key(WORKSPACE, event.asset_id, sha256, extension), data, media_type=media_type)
        return sha256

    async def manifest(self, event: ImageGenerated, sha256: str) -> dict[str, Any]:
        told: dict[str, Any] = orjson.loads(await self.blobs.get(blob_key(WORKSPACE, event.asset_id, sha256, "json")))
        return told

    async def replay(
        self,
        event: ImageGenerated,
        sha256: str,
        *,
        workspace: UUID = WORKSPACE,
        signed: Mapping[str, str] | None = None,
    ) -> Replayed:
        return await replay(self.studio, workspace=workspace, asset=event.asset_id, sha256=sha256, signed=signed)


def image(*recipes: Recipe) -> ImageGenerated:
    event = generated(ORIGINAL, *recipes, brand=BRAND.pin(), focal=(0.3, 0.6))
    return event.model_copy(update={"brief": event.brief.model_copy(update={"headline": "Slow", "locale": "en-GB"})})


async def test_the_manifest_alone_makes_every_file_again(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    found = await bench.replay(event, sha256)
    assert found.verdict is Verdict.EXACT
    assert [(file.recipe, file.rendition, file.verdict) for file in found.files] == [
        (None, "proxy-32", Verdict.EXACT),
        (None, "original", Verdict.EXACT),
        ("web@1", "small", Verdict.EXACT),
        ("web@1", "named", Verdict.EXACT),
    ]
    assert (found.changed, found.missing, found.lacks) == ([], [], [])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before, "it stores nothing"


@pytest.mark.parametrize(("days", "signs"), [(9, True), (-1, False)])
async def test_who_only_looks_is_told_of_no_certificate_that_is_over(tmp_path: Path, days: int, *, signs: bool) -> None:
    bench = Bench(tmp_path)
    chain = Chain.read(certificate(KEYS["es256"], days=days))
    studio = Studio(blobs=bench.blobs, library=Library(bench.blobs), children=bench.children, chain=chain)
    assert (studio.certificate is not None) is signs
    event = image(WEB)
    sha256 = await bench.process(event, WEB)
    manifest = await studio.manifest(WORKSPACE, event.asset_id, sha256)
    sitting = await studio.sitting(WORKSPACE, manifest, {})
    await studio.make(sitting, {}, digests={}, proxies=False, signs=True)
    assert ("certificates" in bench.children.orders[-1]["origin"]) is signs


async def test_the_manifest_names_what_went_into_the_files(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    told = await bench.manifest(event, await bench.process(event, WEB))
    assert told["format"] == "calotype.derivatives/1"
    assert told["brand"] == BRAND.pin().model_dump()
    assert (told["texts"], told["locale"]) == ({"headline": "Slow"}, "en-GB")
    assert told["inputs"] == {"mark/logo": LOGO_SHA256}
    assert told["versions"].keys() >= {"pillow", "opencv", "cpu", "calotype"}


async def test_a_file_that_drifted_is_told_with_the_library_that_is_another_now(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    told = await bench.manifest(event, sha256)
    other = await bench.put(event, written(plain(48, 48), "WEBP"), "webp")
    told["derivatives"][2]["sha256"] = other
    versions = told["versions"] | {"webp": "0.9.0"}
    found = await bench.replay(
        event, await bench.rewrite(event, sha256, versions=versions, derivatives=told["derivatives"])
    )
    proxy, original, small, named = found.files
    assert (found.verdict, proxy.verdict, named.verdict) == (Verdict.DRIFTED, Verdict.EXACT, Verdict.EXACT)
    assert original.verdict is Verdict.EXACT
    assert small.verdict is Verdict.DRIFTED
    assert small.measure is not None
    assert f"webp was 0.9.0 and is {told['versions']['webp']}" in small.sentence


async def test_what_nobody_sees_is_within_tolerance(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    told = await bench.manifest(event, sha256)
    small = next(file for file in bench.files if file.rendition == "small")
    stored = await bench.blobs.get(small.key)
    told["derivatives"][2]["sha256"] = await bench.put(event, _with_another_chunk(stored), "webp")
    found = await bench.replay(event, await bench.rewrite(event, sha256, derivatives=told["derivatives"]))
    assert found.files[2].verdict is Verdict.WITHIN_TOLERANCE
    assert found.files[2].sentence.startswith("every pixel is the same, the file is not; nothing that the manifest")


async def test_a_signed_file_that_drifted_is_found_by_the_hash_it_is_stored_under(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    told = await bench.manifest(event, sha256)
    small = next(file for file in bench.files if file.rendition == "small")
    signed = await bench.put(event, _with_another_chunk(await bench.blobs.get(small.key)), "webp")
    told["derivatives"][2]["sha256"] = "5a" * 32  # as it was before it was signed, which nobody stored
    sha256 = await bench.rewrite(event, sha256, derivatives=told["derivatives"])
    alone = await bench.replay(event, sha256)
    assert (alone.files[2].verdict, alone.files[2].measure) == (Verdict.DRIFTED, None)
    assert "the stored file is gone" in alone.files[2].sentence
    found = await bench.replay(event, sha256, signed={"5a" * 32: signed})
    assert found.files[2].verdict is Verdict.WITHIN_TOLERANCE


async def test_a_mark_that_is_gone_is_named(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    bench.blobs.path(blob_key(WORKSPACE, ids.source_id(WORKSPACE, LOGO_SHA256), LOGO_SHA256, "png")).unlink()
    found = await bench.replay(event, sha256)
    assert found.missing == ["mark/logo"]
    assert [file.verdict for file in found.files] == [*[Verdict.EXACT] * 3, Verdict.DRIFTED]
    assert "mark/logo is not stored any more" in found.files[3].sentence


async def test_a_manifest_of_an_older_release_is_read_and_what_it_lacks_is_said(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    absent = dict.fromkeys(
        ("format", "brand", "texts", "locale", "palette", "proxies", "inputs", "mask", "original_media_type")
    )
    found = await bench.replay(event, await bench.rewrite(event, sha256, **absent))
    assert found.lacks == ["the request's texts", "its locale", "the brand's colours", "the mask and the marks"]
    assert [file.verdict for file in found.files] == [*[Verdict.EXACT] * 3, Verdict.DRIFTED]
    assert "does not say the request's texts" in found.files[3].sentence


async def test_another_workspaces_asset_is_not_there(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    with pytest.raises(HttpProblem) as refused:
        await bench.replay(event, sha256, workspace=UUID(int=9))
    assert refused.value.status == 404


@pytest.mark.parametrize("digest", ["0" * 64, "no digest, and as long as one is".ljust(64, "!")])
async def test_a_recipe_of_a_digest_that_nobody_published_is_not_there(tmp_path: Path, digest: str) -> None:
    with pytest.raises(HttpProblem, match="has no recipe") as refused:
        await Bench(tmp_path).previews.recipe(WORKSPACE, digest)
    assert (refused.value.status, refused.value.where) == (404, "recipe")


async def test_a_preview_is_what_the_pipeline_would_store(tmp_path: Path) -> None:
    bench, event, again = Bench(tmp_path), image(WEB), image(TIGHT)
    sha256 = await bench.process(event, WEB)
    told = await bench.studio.manifest(WORKSPACE, event.asset_id, sha256)
    for each, name in ((WEB, "named"), (TIGHT, "tight")):
        wanted = await bench.previews.wanted(told, each, name, workspace=WORKSPACE)
        preview = await bench.previews.get(wanted)
        if each is TIGHT:  # which never ran over this asset: only now
            again = again.model_copy(update={"asset_id": event.asset_id})
            await bench.process(again, TIGHT)
        stored = next(file for file in bench.files if file.rendition == name)
        assert hashlib.sha256(preview.data).hexdigest() == stored.sha256
        assert (preview.width, preview.height, preview.media_type) == (stored.width, stored.height, stored.media_type)


async def test_a_preview_asked_for_twice_is_made_once(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    told = await bench.studio.manifest(WORKSPACE, event.asset_id, await bench.process(event, WEB))
    before = len(bench.children.orders)
    wanted = [await bench.previews.wanted(told, TIGHT, "tight", workspace=WORKSPACE) for _ in range(2)]
    first, second = [await bench.previews.get(each) for each in wanted]
    assert first is second
    assert len(bench.children.orders) == before + 1


async def test_an_unknown_rendition_and_a_huge_one_are_refused_by_name(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    told = await bench.studio.manifest(WORKSPACE, event.asset_id, await bench.process(event, WEB))
    huge = recipe(rendition("wall", 8192, 8192))
    for each, name, status in ((WEB, "hero", 404), (huge, "wall", 413)):
        with pytest.raises(HttpProblem) as refused:
            await bench.previews.wanted(told, each, name, workspace=WORKSPACE)
        assert refused.value.status == status


async def test_who_looks_waits_for_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    bench.studio = Studio(blobs=bench.blobs, library=Library(bench.blobs), children=bench.children, room=0)
    with pytest.raises(HttpProblem) as refused:
        await bench.replay(event, sha256)
    assert refused.value.status == 429


async def test_who_waits_for_a_place_holds_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, event = Bench(tmp_path), image(WEB)
    sha256 = await bench.process(event, WEB)
    began, goes_on, read = asyncio.Event(), asyncio.Event(), []
    get, develop = bench.blobs.get, bench.children.develop

    async def counted(key: str) -> bytes:
        read.extend([key] if key == event.original.key else [])
        return await get(key)

    async def slow(*asked: Any) -> Development:
        began.set()
        await goes_on.wait()
        return await develop(*asked)

    monkeypatch.setattr(bench.blobs, "get", counted)
    monkeypatch.setattr(bench.children, "develop", slow)
    bench.studio = Studio(blobs=bench.blobs, library=Library(bench.blobs), children=bench.children, at_once=1, room=3)
    waiting = [asyncio.create_task(bench.replay(event, sha256)) for _ in range(4)]
    await began.wait()
    (refused,), _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(HttpProblem, match="too many"):
        await refused
    assert len(read) == 1, "of three, the one that has the place"
    goes_on.set()
    replayed = await asyncio.gather(*(each for each in waiting if each is not refused))
    assert [each.verdict for each in replayed] == [Verdict.EXACT] * 3
    assert len(read) == 3


def test_our_own_avif_is_measured_and_a_strangers_is_not_opened() -> None:
    one, other = (written(plain(16, 16, colour), "AVIF") for colour in ((90, 120, 40), (90, 120, 90)))
    assert measured(one, one, ours=True) == {"psnr": None, "largest": 0, "differing": 0.0}
    apart = measured(one, other, ours=True)
    assert apart is not None and apart["largest"] > 40
    assert measured(one, other) is None


def test_a_draft_that_lint_refuses_is_not_previewed() -> None:
    linted(TIGHT)
    with pytest.raises(HttpProblem) as refused:
        linted(recipe(rendition("twice"), rendition("twice")))
    assert "'twice' stands 2 times" in refused.value.what


def _with_another_chunk(webp: bytes) -> bytes:
    """A WebP of the same pixels: RIFF readers pass over chunks that they do not know."""
    body = webp[8:] + b"abcd" + (4).to_bytes(4, "little") + b"1234"
    return b"RIFF" + len(body).to_bytes(4, "little") + body
