"""What real children claim of pictures, and that nobody but the worker signs it."""

import hashlib
import socket
import zlib
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from PIL.PngImagePlugin import PngInfo

from services.postprocess.children import Children
from services.postprocess.cose import NotAsExpected, claim_of
from services.postprocess.development import Development
from services.postprocess.files import complete
from shared.credentials import Credentials, Verifier
from shared.errors import Unavailable
from shared.events import SourceType
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.images import generated
from tests.postprocess.pictures import grainy, plain, read, written
from tests.postprocess.signed import OURS, CountingSigner, developed, keys

OUR = OURS().signer()
ORIGINAL = written(plain())
WEB = recipe(
    rendition("a", 48, 40, format="jpeg", operations=[step("crop"), step("resize")]),
    rendition("b", 48, 40, format="webp", operations=[step("pad")]),
    rendition("c", 48, 40, format="avif"),
    rendition("d", 48, 40, format="png"),
)


# Whose claim is kept elsewhere.
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="%s"/>'
    "</rdf:RDF></x:xmpmeta>"
)

# Children take half a second to start, and one serves many pictures.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def children() -> AsyncIterator[Children]:
    opened = Children(count=1, signer=OUR)
    yield opened
    await opened.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verifier() -> AsyncIterator[Verifier]:
    opened = Verifier(anchors=OURS().authority)
    yield opened
    await opened.stop()


def files(development: Development) -> Mapping[str, tuple[bytes, str]]:
    return {made.rendition: (made.data, made.media_type) for made in development.made if made.unsigned_sha256}


def actions(found: Credentials) -> list[list[tuple[str, str | None]]]:
    return [[(action.action, action.description) for action in claim.actions] for claim in found.claims]


async def test_every_file_says_how_it_came_about_and_by_whom(verifier: Verifier) -> None:
    signer = CountingSigner(OUR)
    development = await developed(ORIGINAL, generated(ORIGINAL, WEB), WEB, signer=signer, proxies=(32,))
    found = {name: await verifier.read(*file) for name, file in files(development).items()}
    assert {name: each.state for name, each in found.items()} == dict.fromkeys(["original", *"abcd"], "trusted")
    created = [("c2pa.created", None)]
    opened, converted = ("c2pa.opened", None), ("c2pa.converted", None)
    assert actions(found["original"]) == [created]
    assert actions(found["a"]) == [[opened, ("c2pa.cropped", None), ("c2pa.resized", None), converted], created]
    assert actions(found["b"]) == [[opened, ("c2pa.edited", "pad"), converted], created]
    assert actions(found["d"]) == [[opened, ("c2pa.cropped", None), ("c2pa.resized", None)], created]
    assert found["c"].source_type == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert len(signer.asked) == 5
    assert [made.rendition for made in development.made if not made.unsigned_sha256] == ["proxy-32"]


@pytest.mark.parametrize("source_type", [SourceType.COMPOSITE, SourceType.ALGORITHMIC])
async def test_the_source_type_is_what_made_the_image(
    verifier: Verifier, children: Children, source_type: SourceType
) -> None:
    event = generated(ORIGINAL, source_type=source_type)
    development = await developed(ORIGINAL, event, signer=OUR, children=children)
    found = await verifier.read(*files(development)["original"])
    assert found.source_type == f"http://cv.iptc.org/newscodes/digitalsourcetype/{source_type}"
    assert str(source_type).encode() in development.made[0].data[:3000]  # and in XMP


async def test_made_again_a_file_is_signed_otherwise_and_is_still_the_same_file(children: Children) -> None:
    event = generated(ORIGINAL, WEB)
    ((one, stored), (two, _)) = [
        complete(
            event,
            await developed(ORIGINAL, event, WEB, signer=OUR, children=children),
            blocking=frozenset(),
        )
        for _ in range(2)
    ]
    assert [file.identity for file in one.files] == [file.identity for file in two.files]
    assert not {file.sha256 for file in one.files} & {file.sha256 for file in two.files}
    assert one.manifest == two.manifest
    for each in stored:
        assert each.file.sha256 == hashlib.sha256(each.data).hexdigest()


async def test_the_signed_original_is_published_and_the_raw_one_stays_inferences(children: Children) -> None:
    event = generated(ORIGINAL, WEB)
    development = await developed(ORIGINAL, event, WEB, signer=OUR, children=children)
    processed, _ = complete(event, development, blocking=frozenset({"provenance"}))
    assert processed.original.sha256 == event.original.sha256
    assert [file.rendition for file in processed.files if file.is_original] == ["original"]
    verdicts = {verdict.check: verdict for verdict in processed.checks}
    assert verdicts["provenance"].sentence == "5 files are signed, as trainedAlgorithmicMedia."
    assert all(verdict.ok for verdict in processed.checks)


async def test_without_a_key_files_carry_xmp_and_a_verdict_says_that_they_are_unsigned(children: Children) -> None:
    event = generated(ORIGINAL, WEB)
    development = await developed(ORIGINAL, event, WEB, children=children)
    assert not files(development)
    for made in development.made:
        assert b"Body oil" in read(made.data).info["xmp"]
    processed, _ = complete(event, development, blocking=frozenset())
    (said,) = [verdict for verdict in processed.checks if verdict.check == "provenance"]
    assert said.ok and said.sentence == "The files are not signed: postprocess has no signing key."
    (asked,) = [
        verdict
        for verdict in complete(event, development, blocking=frozenset({"provenance"}))[0].checks
        if verdict.check == "provenance"
    ]
    assert not asked.ok


async def test_a_byte_budget_holds_for_the_signed_file_and_is_used(verifier: Verifier, children: Children) -> None:
    tight = recipe(
        *(rendition(f"{kind}{budget}", 256, 256, format=kind, max_bytes=budget, quality=95)
          for kind in ("jpeg", "webp", "avif") for budget in (24_000, 32_000))
    )  # fmt: skip
    original = written(grainy())
    development = await developed(original, generated(original, tight), tight, signer=OUR, children=children)
    for made in development.made[1:]:
        assert made.max_bytes is not None
        assert len(made.data) <= made.max_bytes
        if made.manifest["quality"] < 95:
            assert len(made.data) > 0.8 * made.max_bytes, made.rendition


async def test_a_file_does_not_depend_on_what_other_channels_are_made_beside_it(children: Children) -> None:
    tight = recipe(
        *(rendition(f"{kind}{budget}", 256, 256, format=kind, max_bytes=budget, quality=95)
          for kind in ("jpeg", "webp") for budget in (24_000, 32_000))
    )  # fmt: skip
    beside = recipe(rendition("many", 32, 32, operations=[step("resize"), *[step("sharpen")] * 30]), channel="social")
    original = written(grainy())
    alone, both = [
        await developed(original, generated(original, *recipes), *recipes, signer=OUR, children=children)
        for recipes in ((tight,), (tight, beside))
    ]
    hashes = [
        {made.rendition: made.unsigned_sha256 for made in each.made if made.channel == "web"} for each in (alone, both)
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 4 and None not in hashes[0].values()


async def test_a_key_that_is_away_costs_the_picture_nothing_and_leaves_no_child() -> None:
    signer = CountingSigner(OUR, fails=Unavailable("the signing key", "away"))
    children = Children(count=1, signer=signer)
    event = generated(ORIGINAL, WEB)
    with pytest.raises(Unavailable):
        await developed(ORIGINAL, event, WEB, signer=signer, children=children)
    assert children.pids == []
    signer.fails = None
    assert files(await developed(ORIGINAL, event, WEB, signer=signer, children=children))
    await children.stop()


async def test_credentials_that_an_image_came_with_are_kept_as_its_parents(
    verifier: Verifier, children: Children
) -> None:
    theirs = keys()
    came = files(await developed(ORIGINAL, generated(ORIGINAL), signer=theirs.signer()))["original"][0]
    found = await verifier.read(
        *files(await developed(came, generated(came), signer=OUR, children=children))["original"]
    )
    assert found.state == "trusted"
    assert actions(found) == [
        [("c2pa.opened", None), ("c2pa.edited.metadata", None)],
        [("c2pa.created", None)],
    ]


async def test_an_address_in_a_strangers_picture_is_not_followed_and_its_claim_not_replaced_by_ours(
    children: Children,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/claim"
        told = PngInfo()
        told.add_itxt("XML:com.adobe.xmp", XMP % address)
        came = written(plain(), pnginfo=told)
        development = await developed(came, generated(came), signer=OUR, children=children)
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert not files(development)
    assert development.unsigned is not None and "cannot be read" in development.unsigned


async def test_a_picture_whose_own_credentials_are_damaged_is_not_claimed_as_created_here(children: Children) -> None:
    theirs = files(await developed(ORIGINAL, generated(ORIGINAL), signer=OUR, children=children))["original"][0]
    at = theirs.index(b"caBX")
    length = int.from_bytes(theirs[at - 4 : at], "big")
    broken = theirs[at : at + 4 + 60] + bytes(length - 60)
    came = theirs[:at] + broken + zlib.crc32(broken).to_bytes(4, "big") + theirs[at + 8 + length :]
    assert b"jumb" in broken
    development = await developed(came, generated(came), signer=OUR, children=children)
    assert not files(development)
    assert development.unsigned is not None and "cannot be read" in development.unsigned


async def test_only_what_changed_the_picture_is_claimed_and_all_that_was_asked_is_kept(
    verifier: Verifier, children: Children
) -> None:
    asked = recipe(
        rendition(
            "a",
            32,
            32,
            format="png",
            operations=[
                step("crop"),
                step("upscale", factor=2),
                step("cut-out", by="shape"),
                step("resize"),
                step("text", text="headline"),
                step("logo"),
                step("badge"),
                step("sharpen"),
                step("mark"),
            ],
        ),
        rendition("b", 64, 64, format="png", operations=[step("crop"), step("resize")]),
    )
    original = written(grainy(96, 64))
    development = await developed(original, generated(original, asked), asked, signer=OUR, children=children)
    made = files(development)
    found = actions(await verifier.read(*made["a"]))[0]
    assert found == [("c2pa.opened", None), ("c2pa.cropped", None), ("c2pa.resized", None), ("c2pa.filtered", None)]
    assert actions(await verifier.read(*made["b"]))[0] == [("c2pa.opened", None), ("c2pa.cropped", None)]
    kept = {each.rendition: [asked["op"] for asked in each.manifest["operations"]] for each in development.made}
    assert kept["a"] == [each.op for each in asked.renditions[0].operations]


async def test_what_a_newer_release_made_is_not_signed_and_that_is_said(children: Children) -> None:
    event = generated(ORIGINAL, WEB, source_type=SourceType.UNKNOWN)
    development = await developed(ORIGINAL, event, WEB, signer=OUR, children=children)
    assert not files(development)
    (said,) = [
        verdict
        for verdict in complete(event, development, blocking=frozenset())[0].checks
        if verdict.check == "provenance"
    ]
    assert not said.ok and "not known to this release" in said.sentence


async def test_a_manifest_in_another_form_is_refused_and_never_signed() -> None:
    for store in (b"", b"\0\0\0\x08jumb", bytes(100), b"\0\0\0\x10jumb\0\0\0\x08jumb"):
        with pytest.raises(NotAsExpected):
            claim_of(store)


async def test_a_signature_of_another_length_is_no_answer() -> None:
    asked: list[bytes] = []

    class Short(CountingSigner):
        async def sign(self, data: bytes) -> bytes:
            asked.append(data)
            return bytes(63)

    development = await developed(ORIGINAL, generated(ORIGINAL), signer=Short(OUR))
    assert asked and development.unsigned is not None and "63 bytes" in development.unsigned
