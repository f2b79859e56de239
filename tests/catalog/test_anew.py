"""Which approved assets get a new version, and under which id: asked twice it is the same ask."""

from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from services.catalog.anew import Case, not_again, requested, sendable
from services.catalog.ledger.reruns import Ask, State, asks
from services.catalog.ledger.reruns import readable as readable_asks
from services.catalog.rerunning import readable
from services.catalog.stranded import under_way
from services.catalog.views.versions import rerun_lines
from shared.events import DerivativesFailed, DerivativesRequested, Event, FailureReason, ImageProcessed, Pin
from tests.catalog.facts import BEGIN, Request

(JOB,) = Request().jobs
WEB, WEB_2 = (Pin(name="web", version=version, digest=f"{version}" * 64) for version in (1, 2))
SOCIAL, SOCIAL_2 = (Pin(name="social", version=version, digest=f"{version}a" * 32) for version in (1, 2))


def case(**changed: Any) -> Case:
    image = JOB.generated(recipes={"web": WEB, "social": SOCIAL})
    fields: dict[str, Any] = {"asset_id": JOB.asset_id, "version": JOB.asset_version_id, "image": image}
    return Case(**fields | changed)


def asked(at: Case, **wanted: Pin) -> DerivativesRequested:
    return requested(at, wanted, by="otto", at=BEGIN, trace=None)


def heard(*facts: Event) -> list[Ask]:
    return asks(fact.model_dump(mode="json") | {"type": type(fact).__name__} for fact in facts)


def why(at: Case, **wanted: Pin) -> str | None:
    found = not_again(at, wanted)
    return found.why if found else None


def test_a_recipe_takes_the_place_of_its_channels_and_the_others_stay() -> None:
    fact = requested(case(), {"web": WEB_2}, by="otto", at=BEGIN, trace=None)
    assert fact.image.recipes == {"web": WEB_2, "social": SOCIAL}
    assert (fact.supersedes, fact.by) == (JOB.asset_version_id, "otto")
    assert fact.image.original == JOB.generated().original


def test_the_same_new_version_is_the_same_ask_whoever_asks_and_however() -> None:
    ask = asked(case(), web=WEB_2)
    assert asked(case(), web=WEB_2, social=SOCIAL).event_id == ask.event_id
    assert asked(case(), web=WEB_2, social=SOCIAL_2).event_id != ask.event_id
    assert asked(case(version=uuid4()), web=WEB_2).event_id != ask.event_id


@pytest.mark.parametrize(
    ("changed", "wanted", "words"),
    [
        ({}, {"web": WEB_2}, None),
        ({}, {"web": WEB_2, "email": SOCIAL}, None),
        ({}, {"email": WEB_2}, "not made for email"),
        ({}, {"web": WEB}, "is made by web@1"),
        ({"waits": True}, {"web": WEB_2}, "waits for a decision"),
        ({"gone": "it was recalled"}, {"web": WEB_2}, "recalled"),
    ],
)
def test_it_says_why_not(changed: dict[str, Any], wanted: dict[str, Pin], words: str | None) -> None:
    found = why(case(**changed), **wanted)
    assert found is None if words is None else words in (found or "")


def test_what_was_asked_for_is_not_asked_for_again_until_it_failed_by_chance() -> None:
    ask = asked(case(), web=WEB_2)
    made = ImageProcessed.model_validate(JOB.processed_anew().model_dump() | {"cause_id": ask.event_id})

    def failure(reason: FailureReason) -> DerivativesFailed:
        changed = {"reason": reason, "cause_id": ask.event_id}
        return DerivativesFailed.model_validate(JOB.failed_anew().model_dump() | changed)

    under_way, done = case(asked=heard(ask)), case(asked=heard(ask, made))
    assert "are being run" in (why(under_way, web=WEB_2) or "")
    other = {"web": WEB_2, "social": SOCIAL_2}
    assert "another version" in (why(under_way, **other) or ""), "approved later, it would undo this one"
    assert why(done, **other) is None, "that one was rejected"
    refused = case(asked=heard(ask, failure(FailureReason.INVALID_REQUEST)))
    assert why(refused, **other) is None, "other recipes are another ask"
    assert "was not approved" in (why(done, web=WEB_2) or "")
    assert "crpo" in (why(refused, web=WEB_2) or "")
    by_chance = failure(FailureReason.OUT_OF_MEMORY)
    assert why(case(asked=heard(ask, by_chance)), web=WEB_2) is None
    again = asked(case(asked=heard(ask, by_chance)), web=WEB_2)
    assert again.event_id != ask.event_id, "or its work, that has ended, would be taken for done"
    assert "are being run" in (why(case(asked=heard(ask, by_chance, again)), web=WEB_2) or "")


def test_of_every_ask_it_is_said_how_it_ended() -> None:
    ask, failed, made = JOB.asked_anew(), JOB.failed_anew(), JOB.processed_anew()
    (runs,) = heard(JOB.processed(), ask)
    assert (runs.by, runs.at, runs.state, runs.ended_at) == ("otto", ask.occurred_at, State.RUNNING, None)
    (ended,) = heard(failed, ask)
    assert (ended.state, ended.ended_at) == (State.FAILED, failed.occurred_at)
    assert ended.failure and "crpo" in ended.failure.detail
    (late,) = heard(ask, failed, made)
    assert (late.state, late.made, late.failure) == (State.MADE, JOB.new_version_id, None), "given up, and it came"


def test_what_is_the_brands_is_not_left_out_of_an_image_that_does_not_say_whose_it_is() -> None:
    found = not_again(case(), {"web": WEB_2, "social": SOCIAL_2}, branded={"web"})
    assert found is not None and "before brands travelled" in found.why and "web@2 would" in found.why
    branded = JOB.generated(recipes={"web": WEB, "social": SOCIAL}, brand=Pin(name="salt", version=1, digest="b" * 64))
    assert not_again(case(image=branded), {"web": WEB_2}, branded={"web"}) is None
    assert not_again(case(), {"social": SOCIAL_2}, branded={"web"}) is None
    assert not_again(case(), {"email": WEB_2, "social": SOCIAL_2}, branded={"email"}) is None, "it has no such channel"


def test_one_that_cannot_be_read_or_asked_for_stands_in_nobodys_way() -> None:
    good, old, bad, large = Request(name="a page", variants=4).jobs
    began = {job: job.generated(recipes={"web": WEB}) for job in (good, bad, large)}
    began[large] = began[large].model_copy(update={"brief": large.brief.model_copy(update={"headline": "x" * 270_000})})
    said = {
        job.job_id: {
            str(f.event_id): f.model_dump(mode="json") | {"type": type(f).__name__} for f in (image, job.processed())
        }
        for job, image in began.items()
    }
    del said[bad.job_id][str(began[bad].event_id)]["model"]
    rows = [
        {name: getattr(job, name) for name in ("asset_id", "job_id", "asset_version_id")}
        | {"request_id": job.request.request_id}
        | {"event_id": job.processed().event_id}
        for job in (good, old, bad, large)
    ]
    traces = {event: None for facts in said.values() for event in facts}
    cases, refused = readable(rows, said, waits=frozenset(), traces=traces)
    assert [one.asset_id for one in refused] == [old.asset_id, bad.asset_id]
    assert "1 fields of ImageGenerated" in refused[1].why
    asks = [requested(each, {"web": WEB_2}, by="otto", at=BEGIN, trace=None) for each in cases]
    sent, outsized = sendable(asks)
    assert [fact.asset_id for fact in sent] == [good.asset_id]
    assert [(one.asset_id, "256 KiB" in one.why) for one in outsized] == [(large.asset_id, True)]


def test_an_ask_that_cannot_be_read_hides_none_of_the_others() -> None:
    good, bad, odd = Request(name="a page", variants=3).jobs
    asked = [job.asked_anew() for job in (good, bad, odd)]
    facts = [fact.model_dump(mode="json") | {"type": "DerivativesRequested"} for fact in asked]
    facts[1]["image"]["recipes"] = {"web": {"name": "web"}}
    del facts[2]["image"]["model"]
    with capture_logs() as lines:
        assert [ask.asset_id for ask in readable_asks(facts)] == [good.asset_id, odd.asset_id]
        assert len(list(rerun_lines([{"type": f["type"], "body": f} for f in facts], asset=good.asset_id))) == 1
        (running,) = under_way(facts, of={str(fact.event_id) for fact in asked})
        assert running.event_id == asked[0].event_id
    told = [line["fact"] for line in lines if line["event"] == "rerun.unreadable"]
    bad_ask, odd_ask = (str(fact.event_id) for fact in asked[1:])
    assert told == [bad_ask] * 3 + [odd_ask], "once by each reader"
    with pytest.raises(ValueError, match="Pin"):
        asks(facts)
