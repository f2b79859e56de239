"""Signed files, read by tools that are not ours, and signed again after a kill."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import encypher_c2pa
import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.servers import EmbeddedServers
from services.postprocess.development import Made
from shared.blobs import FileBlobs, library_key
from shared.credentials import Verifier
from shared.events import ImageGenerated, ImageProcessed
from shared.kafka import Producer, create_topics, record_of
from shared.settings import KafkaSettings
from shared.topics import IMAGES_PROCESSED
from tests.live.stage import new_database
from tests.postprocess.documents import recipe, rendition
from tests.postprocess.images import RUBRIC, WORKSPACE, generated
from tests.postprocess.pictures import grainy, written
from tests.postprocess.signed import OURS, developed, keys

ORIGINAL = written(grainy())
WEB = recipe(*(rendition(kind, 148, 140, format=kind) for kind in ("jpeg", "webp", "avif", "png")))


@pytest.fixture(scope="module")
def files() -> list[Made]:
    """A signed original and a derivative of every format, made by a real child."""
    event = generated(ORIGINAL, WEB, alt_text='An "amber" bottle & its lid', caption="زيت Öl 花")
    return asyncio.run(developed(ORIGINAL, event, WEB, signer=OURS().signer())).made


@pytest.fixture
def folder(files: list[Made], tmp_path: Path) -> Path:
    for made in files:
        (tmp_path / f"{made.rendition}.{made.media_type.removeprefix('image/')}").write_bytes(made.data)
    return tmp_path


def verdict(path: Path, anchor: str | None) -> Any:
    return encypher_c2pa.verify(str(path), trust_pem=anchor, telemetry=False, online=False)


def test_another_verifier_trusts_our_files_with_our_anchor_alone_and_no_changed_byte(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))  # where it would keep a preference
    paths = sorted(folder.glob("*.*"))
    assert {path.suffix for path in paths} == {".png", ".jpeg", ".webp", ".avif"}
    for path in paths:
        states = [verdict(path, anchor)["validation_state"] for anchor in (OURS().authority, None, keys().authority)]
        assert states == ["Trusted", "Valid", "Valid"], path.name
        data = path.read_bytes()
        for place in (len(data) // 2, len(data) - 40):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            assert verdict(path, OURS().authority)["validation_state"] == "Invalid", (path.name, place)


async def test_our_own_reading_says_the_same(files: list[Made]) -> None:
    trusting, strangers = Verifier(anchors=OURS().authority), Verifier()
    for made in files:
        data, changed = made.data, made.data[:-40] + bytes([made.data[-40] ^ 1]) + made.data[-39:]
        assert (await trusting.read(data, made.media_type)).state == "trusted"
        assert (await strangers.read(data, made.media_type)).state == "valid"
        assert (await trusting.read(changed, made.media_type)).state == "invalid"
    await trusting.stop()
    await strangers.stop()


@pytest.mark.exiftool
def test_exiftool_reads_source_type_alt_text_and_caption_and_finds_nothing_wrong(folder: Path) -> None:
    asked = ["-XMP-iptcExt:DigitalSourceType", "-XMP-iptcCore:AltTextAccessibility", "-XMP-dc:Description"]
    asked += ["-XMP-calotype:ManifestSHA256", "-XMP-calotype:RecipeSHA256", "-Validate"]
    told = subprocess.run(["exiftool", "-json", *asked, str(folder)], capture_output=True, check=True)
    found = {Path(each.pop("SourceFile")).stem: each for each in json.loads(told.stdout)}
    assert set(found) == {"original", "jpeg", "webp", "avif", "png"}
    for name, said in found.items():
        assert said["DigitalSourceType"] == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
        assert said["AltTextAccessibility"] == 'An "amber" bottle & its lid'
        assert said["Description"] == "زيت Öl 花"
        assert len(said["ManifestSHA256"]) == 64
        assert ("RecipeSHA256" in said) == (name != "original")
        assert said["Validate"] == "OK", name


@dataclass(frozen=True, slots=True)
class Stage:
    """Where one postprocess after another runs, each a process of its own."""

    environment: dict[str, str]
    settings: KafkaSettings
    blobs: FileBlobs
    store: Path

    async def start(self, **more: str) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", "services.postprocess", "--roles", "consume,work")
        return await asyncio.create_subprocess_exec(*command, env=os.environ | self.environment | more)

    async def send(self, event: ImageGenerated) -> None:
        await self.blobs.put(event.original.key, ORIGINAL, media_type="image/png")
        for document in (RUBRIC, WEB):
            key = library_key(WORKSPACE, document.pin().digest)
            await self.blobs.put(key, document.canonical(), media_type="application/json")
        producer = Producer(self.settings)
        await producer.start()
        assert not await producer.deliver([record_of(event, prefix=self.settings.topic_prefix)])
        await producer.stop()

    async def processed(self) -> ImageProcessed:
        heard = AIOKafkaConsumer(
            self.settings.topic_prefix + IMAGES_PROCESSED.name,
            bootstrap_servers=self.settings.kafka_bootstrap,
            auto_offset_reset="earliest",
        )
        await heard.start()
        try:
            record = await asyncio.wait_for(heard.getone(), 60)
            return ImageProcessed.model_validate_json(record.value)
        finally:
            await heard.stop()

    def signed_blobs(self) -> Iterator[str]:
        """Hashes of the files in the store that carry credentials."""
        for path in self.store.rglob("*.*"):
            if path.suffix != ".json" and b"c2pa.signature" in path.read_bytes():
                yield path.stem


async def stage_at(servers: EmbeddedServers, folder: Path) -> Stage:
    for name, text in (("certificates.pem", OURS().certificates), ("key.pem", OURS().key)):
        (folder / name).write_text(text)
    environment = {
        "DATABASE_URL": await new_database(servers),
        "CALOTYPE_KAFKA_BOOTSTRAP": servers.kafka_bootstrap,
        "CALOTYPE_TOPIC_PREFIX": f"t{uuid4().hex[:8]}.",
        "CALOTYPE_TOPIC_PARTITIONS": "2",
        "CALOTYPE_TOPIC_REPLICATION": "1",
        "CALOTYPE_BLOBS_URL": f"file://{folder / 'blobs'}",
        "CALOTYPE_CHILDREN": "1",
        "CALOTYPE_LEASE_SECONDS": "2",
        "CALOTYPE_SESSION_SECONDS": "2",
        "CALOTYPE_SIGNING_CERTIFICATES_FILE": str(folder / "certificates.pem"),
        "CALOTYPE_SIGNING_KEY_FILE": str(folder / "key.pem"),
    }
    settings = KafkaSettings(
        kafka_bootstrap=servers.kafka_bootstrap,
        topic_prefix=environment["CALOTYPE_TOPIC_PREFIX"],
        topic_partitions=2,
        topic_replication=1,
    )
    await create_topics(settings)
    blobs = FileBlobs(folder / "blobs", public_url="http://localhost", secret="s")
    return Stage(environment, settings, blobs, folder / "blobs")


async def test_killed_between_signing_and_settling_it_signs_again_and_only_the_settled_files_are_named(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    stage = await stage_at(servers, tmp_path)
    event = generated(ORIGINAL, WEB)
    await stage.send(event)
    dying = await stage.start(CALOTYPE_CRASH="postprocess.settle.before:1")
    assert await asyncio.wait_for(dying.wait(), 60) == -signal.SIGKILL
    first = set(stage.signed_blobs())
    assert len(first) == 5

    last = await stage.start()
    fact = await stage.processed()
    last.terminate()
    assert await last.wait() == 0
    named = {file.sha256 for file in fact.files}
    assert len(named) == 5 and not named & first
    assert set(stage.signed_blobs()) == named | first
    verifier = Verifier(anchors=OURS().authority)
    for file in fact.files:
        assert (await verifier.read(await stage.blobs.get(file.key), file.media_type)).state == "trusted"
    await verifier.stop()
