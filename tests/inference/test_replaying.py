"""What a manifest asks for when its image is made again, and what is said of the difference."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.inference.backends import Generated, Generation
from services.inference.domain import Job, ask_of, generation_of, job_of, manifest_of
from services.inference.replaying import Order, order_of, read, work_kind
from services.inference.replaying import (
    generation_of as generation_again,
)
from services.inference.routing import Decision, decide
from shared.comparing import Change, Measure, Verdict, changed, judged, measured
from shared.errors import Rejected
from shared.events import Confidentiality, Lane, PromptAssembled
from tests.inference.prompts import PHOTO, assembled, routes
from tests.servers.provider import png

ASSET, SHA256 = UUID(int=3), "5a" * 32
SHAPES = {"backend": "diffusion", "batch_shapes": [2, 2, 4, 1], "batch_places": [1, 0, 3, 0]}
# As the first release wrote it, field by field.
OLD = {
    "format": "calotype.manifest/1", "job_id": str(UUID(int=1)), "run": 1, "asset_id": str(ASSET),
    "template": {"name": "product-tile", "version": 3, "digest": "d" * 64}, "prompt": "a mug", "negative_prompt": "",
    "seed": 7, "scene": {}, "references": [], "made_by": {"backend": "diffusion"},
    "parameters": {"width": 64, "height": 64, "steps": 4, "guidance": 5.0, "scheduler": "ddim", "model": "tiny"},
    "route": {"backend": "local", "kind": "diffusion"},
    "output": {"sha256": "0" * 64, "bytes": 3, "media_type": "image/png", "width": 64, "height": 64},
}  # fmt: skip


def job(kind: str = "diffusion", event: PromptAssembled | None = None, **backend: Any) -> Job:
    event = event or assembled()
    table = routes(kind, **{"model": "tiny"} | backend)
    found = decide(ask_of(event), table=table, today=date(2026, 11, 22), providers={"acme": kind})
    assert isinstance(found, Decision), found
    return job_of(event, found, cause_id=event.event_id)


def manifest_bytes(of: Job, made_by: dict[str, Any]) -> bytes:
    generated = Generated(image=b"png", width=64, height=64, manifest=made_by)
    return manifest_of(of, generated, sha256=SHA256)


def order(data: bytes, **backend: Any) -> Order:
    manifest = read(data)
    given = routes(manifest.route.kind, **backend).backends[0]
    return order_of(manifest, given, table="routes@1", asset=ASSET, sha256=SHA256, number=1)


def test_a_replay_asks_for_what_the_job_asked_for_and_for_the_shapes_it_went_through() -> None:
    source = PHOTO.model_copy(update={"width": 64, "height": 64})
    event = assembled(sources=[source], strength=0.4, scene={"layout": "low"})
    call = {"provider": "acme", "takes": ["seed"]}
    for kind, more in (("openai", {"call": call, "capabilities": ["image-to-image"]}), ("diffusion", {})):
        first = job(kind, event if kind == "openai" else assembled(scene={"layout": "low"}), **more)
        data = manifest_bytes(first, SHAPES)
        asked = generation_of(first, attempt_id=UUID(int=2))
        again = generation_again(read(data), order(data), sources=(), alone=False)
        shapes = (2, 2, 4, 1) if kind == "diffusion" else None
        places = (1, 0, 3, 0) if kind == "diffusion" else None
        mine: dict[str, Any] = {"keep_id": asked.keep_id, "lane": Lane.BULK, "shapes": shapes, "places": places}
        mine |= {"job_id": order(data).replay_id, "attempt_id": order(data).replay_id}
        assert again == replace(asked, **mine), "nothing else differs"
        assert order(data).sent == first.sent
    assert [use.model_copy(update={"key": source.key}) for use in read(manifest_bytes(job(), {})).uses] == []


def test_sources_are_found_by_the_hashes_that_the_manifest_names() -> None:
    event = assembled(sources=[PHOTO], strength=0.4)
    first = job("openai", event, call={"provider": "acme"}, capabilities=["image-to-image"])
    assert read(manifest_bytes(first, {})).uses == [PHOTO.model_copy(update={"key": ""})]


def test_a_manifest_of_the_first_release_is_read_and_made_again_alone() -> None:
    manifest = read(json.dumps(OLD).encode())
    asked = order_of(manifest, None, table="", asset=ASSET, sha256=SHA256, number=1)
    again: Generation = generation_again(manifest, asked, sources=(), alone=False)
    assert (again.model, again.scheduler, again.shapes, again.places, again.call) == ("tiny", "ddim", (1,), None, None)
    assert work_kind(asked, None) == "replay.diffusion/standard"
    assert asked.sent.confidentiality is Confidentiality.CONFIDENTIAL, "what does not say is taken for it"
    with pytest.raises(Rejected, match="format"):
        read(json.dumps(OLD | {"format": "calotype.manifest/9"}).encode())


def test_what_an_older_release_did_not_record_is_not_said_to_have_changed() -> None:
    then = {"model": {"files": {"unet": "a"}}, "versions": {"torch": "2.1", "gone": "1"}, "shapes": [1, 2]}
    now = {"model": {"files": {"unet": "b"}}, "versions": {"torch": "2.2", "new": "3"}, "shapes": [1, 2], "loras": []}
    assert changed(then, now) == [
        Change(field="model.files.unet", then="a", now="b"),
        Change(field="versions.torch", then="2.1", now="2.2"),
        Change(field="versions.gone", then="1", now=None),
        Change(field="versions.new", then=None, now="3"),
    ]
    assert changed(now, now) == []


@pytest.mark.parametrize(
    ("same", "measure", "verdict"),
    [
        (True, None, Verdict.EXACT),
        (False, None, Verdict.DRIFTED),
        (False, Measure(psnr=None, largest=0, differing=0.0), Verdict.WITHIN_TOLERANCE),
        (False, Measure(psnr=40.0, largest=8, differing=0.5), Verdict.WITHIN_TOLERANCE),
        (False, Measure(psnr=39.9, largest=8, differing=0.5), Verdict.DRIFTED),
        (False, Measure(psnr=60.0, largest=9, differing=0.0001), Verdict.DRIFTED),
    ],
)
def test_a_verdict_follows_from_the_bytes_and_else_from_the_pixels(
    *, same: bool, measure: Measure | None, verdict: Verdict
) -> None:
    assert judged(same_bytes=same, measure=measure) is verdict


def test_pictures_of_one_size_are_measured_and_others_are_not() -> None:
    one = png(16, 16, seed="one")
    assert measured(one, one) == {"psnr": None, "largest": 0, "differing": 0.0}
    apart = measured(one, png(16, 16, seed="another"))
    assert apart is not None and 0 < apart["differing"] <= 1 and apart["psnr"] < 40
    assert measured(one, png(16, 8, seed="one")) is None
    assert measured(one, b"no picture") is None


def test_whom_to_call_the_manifest_says_and_what_it_costs_today_s_table() -> None:
    first = job("openai", call={"provider": "acme", "takes": ["seed"]}, price="0.04")
    data = manifest_bytes(first, {"seed_is_reproducible": True})
    asked = order(data, call={"provider": "other"}, price="0.05", currency="EUR", pool="dedicated")
    assert (asked.call, asked.price, asked.currency, asked.price_list) == (
        first.call,
        Decimal("0.05"),
        "EUR",
        "routes@1",
    )
    assert asked.bills
    dedicated = routes("openai", call={"provider": "other"}, pool="dedicated").backends[0]
    assert work_kind(asked, dedicated) == "replay.openai/dedicated/acme"
    assert not order(data, call={"provider": "other"}, price="0").bills, "an operator's word"
    assert order(data, call={"provider": "other"}).bills, "an unknown price is no word"


def test_only_who_takes_a_seed_can_make_the_same_again() -> None:
    cloud = job("openai", call={"provider": "acme"})
    assert not read(manifest_bytes(cloud, {"seed_is_reproducible": False})).is_seeded
    assert not read(manifest_bytes(cloud, {})).is_seeded
    assert read(manifest_bytes(cloud, {"seed_is_reproducible": True})).is_seeded
    assert read(manifest_bytes(job(), {})).is_seeded
