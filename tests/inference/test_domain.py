"""What a job's work is and how it ends."""

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.inference.backends import Generated
from services.inference.domain import (
    MOST_REFUSED,
    Cancelled,
    Failed,
    Job,
    Made,
    ask_of,
    ended,
    generation_of,
    job_of,
    manifest_of,
    succeeded,
    unroutable,
    work_kind,
)
from services.inference.routing import Ask, Unroutable, decide
from shared import ids
from shared.events import (
    MAX_EVENT_BYTES,
    Confidentiality,
    FailureReason,
    File,
    ImageGenerated,
    JobCancelled,
    JobFailed,
    Lane,
    LoraUse,
    Parameters,
    Priority,
    PromptAssembled,
    Reproducible,
    SourceType,
)
from shared.library.documents import Backend, Call, RouteRule
from tests.inference.prompts import NOW, assembled, routes

FILE = File(name="original.png", media_type="image/png", bytes=3, sha256="0" * 64, key="k", width=64, height=64)
MADE = Made(original=FILE, manifest=FILE)
IMAGE = Generated(image=b"png", width=64, height=64, manifest={"backend": "diffusion", "batch_shapes": [1, 1]})


def job(event: PromptAssembled | None = None, *, kind: str = "diffusion", **backend: Any) -> Job:
    event = event or assembled()
    table = routes(kind, **{"model": "tiny"} | backend)
    return job_of(
        event,
        decide(ask_of(event), table=table, today=date(2026, 11, 22), providers={"acme": kind}),
        cause_id=event.event_id,
    )


def test_a_strict_request_shares_no_step_and_every_other_one_goes_by_what_is_faster() -> None:
    strict = generation_of(job(assembled(reproducible=Reproducible.STRICT)), attempt_id=UUID(int=1))
    assert strict.shapes == (1,)
    assert ask_of(assembled(reproducible=Reproducible.STRICT)).strict
    assert generation_of(job(), attempt_id=UUID(int=1)).shapes is None


def test_bulk_is_what_came_with_a_batch() -> None:
    single = assembled(priority=Priority.LOW)
    batched = assembled(brief=single.brief.model_copy(update={"batch_id": UUID(int=9)}))
    assert not ask_of(single).bulk
    assert ask_of(batched).bulk
    assert ask_of(single) == Ask(confidentiality=Confidentiality.PUBLIC, priority=Priority.LOW, width=64, height=64)


def test_a_job_survives_its_row() -> None:
    asked = job()
    assert Job.model_validate_json(asked.model_dump_json(exclude_none=True)) == asked


def test_work_for_a_dedicated_pool_is_a_kind_of_its_own() -> None:
    assert [work_kind(routes("proof", pool=pool).backends[0]) for pool in ("standard", "dedicated")] == [
        "proof/standard",
        "proof/dedicated",
    ]


def test_the_manifest_holds_all_that_a_backend_was_told() -> None:
    asked = job()
    manifest = json.loads(manifest_of(asked, IMAGE, sha256="f" * 64))
    told = generation_of(asked, attempt_id=UUID(int=1))
    assert manifest["parameters"] == {
        "width": told.width,
        "height": told.height,
        "steps": told.steps,
        "guidance": told.guidance,
        "scheduler": told.scheduler,
        "model": told.model,
        "loras": list(told.loras),
    }
    assert (manifest["prompt"], manifest["negative_prompt"], manifest["seed"]) == (
        told.prompt,
        told.negative_prompt,
        told.seed,
    )
    assert manifest["scene"] == told.scene
    assert manifest["made_by"] == IMAGE.manifest
    assert manifest["output"]["sha256"] == "f" * 64


def test_the_same_image_has_the_same_manifest_whichever_attempt_made_it() -> None:
    asked = job()
    assert manifest_of(asked, IMAGE, sha256="f" * 64) == manifest_of(asked, IMAGE, sha256="f" * 64)


@pytest.mark.parametrize(
    ("own", "listed", "told"),
    [(None, None, None), (None, "0.04", "0.04"), ("0.02", "0.04", "0.02"), ("0", None, "0")],
)
def test_a_cost_is_the_backend_s_own_or_the_list_price_and_unknown_is_not_nothing(
    own: str | None, listed: str | None, told: str | None
) -> None:
    generated = Generated(image=b"", width=1, height=1, manifest={}, cost=None if own is None else Decimal(own))
    attempt = succeeded(job(price=listed), generated, attempt_id=UUID(int=1), number=1)
    assert attempt.cost == (None if told is None else Decimal(told))


def test_the_same_end_found_twice_is_the_same_fact() -> None:
    asked = job()
    first, later = (ended(asked, MADE, attempts=[], at=NOW + timedelta(seconds=s)) for s in (0, 9))
    assert first.event_id == later.event_id
    assert isinstance(first, ImageGenerated)
    assert first.asset_id == ids.asset_id(asked.event.job_id, 1)


def test_another_run_is_another_fact() -> None:
    asked = job()
    event = asked.event.model_copy(update={"run": 2})
    again = job_of(event, decide(ask_of(event), table=routes(), today=date(2026, 11, 22)), cause_id=UUID(int=77))
    assert ended(again, MADE, attempts=[], at=NOW).event_id != ended(asked, MADE, attempts=[], at=NOW).event_id


def test_each_end_is_its_own_event_and_a_failure_says_what_to_do() -> None:
    failed = ended(job(), Failed(reason=FailureReason.OUT_OF_MEMORY, detail="no memory"), attempts=[], at=NOW)
    assert isinstance(failed, JobFailed)
    assert failed.remedy == "run it smaller, or on a machine with more memory"
    cancelled = ended(job(), Cancelled(by="mara"), attempts=[], at=NOW)
    assert isinstance(cancelled, JobCancelled)
    assert cancelled.by == "mara"


@pytest.mark.parametrize("reason", sorted(set(FailureReason) - {FailureReason.UNKNOWN}))
def test_every_failure_that_can_end_here_has_a_remedy(reason: FailureReason) -> None:
    elsewhere = {FailureReason.POLICY_REFUSED, FailureReason.UNROUTABLE}
    event = ended(job(), Failed(reason=reason, detail="x"), attempts=[], at=NOW)
    assert isinstance(event, JobFailed)
    assert reason in elsewhere or event.remedy


@pytest.mark.parametrize(("kind", "source"), [("proof", SourceType.ALGORITHMIC), ("diffusion", SourceType.TRAINED)])
def test_a_picture_no_model_made_says_so(kind: str, source: SourceType) -> None:
    event = ended(job(kind=kind), MADE, attempts=[], at=NOW)
    assert isinstance(event, ImageGenerated)
    assert event.source_type is source


def test_a_job_nobody_may_make_ends_with_every_reason() -> None:
    event = assembled(confidentiality=Confidentiality.CONFIDENTIAL)
    table = routes("proof", visibility="cloud")
    decision = decide(ask_of(event), table=table, today=date(2026, 11, 22))
    assert isinstance(decision, Unroutable)
    asked = job_of(event, decision, cause_id=event.event_id)
    fact = ended(asked, unroutable(decision), attempts=[], at=NOW)
    assert isinstance(fact, JobFailed)
    assert (fact.reason, fact.rule, fact.table) == (FailureReason.UNROUTABLE, "confidential", table.pin())
    assert fact.refused == {"local": "it is not private, and confidential work never leaves private backends"}


@pytest.mark.parametrize("rest", [[], ["other-499"]])
def test_hundreds_of_backends_leave_a_fact_room_and_those_of_the_rule_are_told_first(rest: list[str]) -> None:
    """Each that the rule prefers has a reason longer than a page."""
    sizes = [f"{size}x9999" for size in range(1000, 1400)]
    call = Call(provider="acme", sizes=sizes)
    own = [Backend(name=f"own-{n}", kind="openai", visibility="private", model="m", call=call) for n in range(3)]
    others = [Backend(name=f"other-{n}", kind="proof", visibility="private") for n in range(500)]
    rule = RouteRule(id="any", lane=Lane.STANDARD, backends=[*(each.name for each in own), *rest])
    table = routes().model_copy(update={"backends": [*others, *own], "rules": [rule]})
    event = assembled()
    decision = decide(ask_of(event), table=table, today=date(2026, 11, 22), providers={"acme": "openai"})
    ending = unroutable(decision) if isinstance(decision, Unroutable) else MADE
    fact = ended(job_of(event, decision, cause_id=event.event_id), ending, attempts=[], at=NOW)
    assert isinstance(fact, ImageGenerated if rest else JobFailed)
    told = list((fact.route if isinstance(fact, ImageGenerated) else fact).refused)
    assert told[:3] == ["own-0", "own-1", "own-2"]
    assert told[-1] == f"{503 - MOST_REFUSED - len(rest)} others"
    assert len(fact.model_dump_json().encode()) < MAX_EVENT_BYTES / 8


def test_the_price_of_a_job_is_that_of_its_size() -> None:
    prices = [{"width": 64, "height": 64, "price": "0.02"}, {"price": "0.09"}]
    assert job(kind="openai", call={"provider": "acme"}, prices=prices, price="0.5").price == Decimal("0.02")
    wide = assembled(parameters=Parameters(width=128, height=64))
    assert job(wide, kind="openai", call={"provider": "acme"}, prices=prices).price == Decimal("0.09")


def test_a_manifest_names_the_provider_s_version_of_the_model() -> None:
    asked = job(version="tiny-2026-01")
    manifest = json.loads(manifest_of(asked, IMAGE, sha256="0" * 64))
    route = {"backend": "local", "kind": "diffusion", "version": "tiny-2026-01", "call": None}
    assert manifest["route"] == route


def test_loras_reach_the_backend_and_are_asked_of_it_unless_they_weigh_nothing() -> None:
    loras = [LoraUse(name="film", weight=0.6), LoraUse(name="grain", weight=0)]
    event = assembled(parameters=Parameters(width=64, height=64, loras=loras))
    assert ask_of(event).loras == {"film"}
    told = generation_of(job(event), attempt_id=uuid4()).loras
    assert [(lora.name, lora.weight) for lora in told] == [("film", 0.6), ("grain", 0)]
    manifest = json.loads(manifest_of(job(event), IMAGE, sha256="0" * 64))
    assert manifest["parameters"]["loras"][0] == {"name": "film", "weight": 0.6}
