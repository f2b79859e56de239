import itertools
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.prompt.domain import assemble
from shared import ids
from shared.events import (
    MAX_EVENT_BYTES,
    Brief,
    Confidentiality,
    FailureReason,
    JobFailed,
    Product,
    PromptAssembled,
    Reproducible,
    RequestAccepted,
    SourceRole,
    SourceUse,
    Stage,
)
from shared.library.documents import LockedParameters, Lora, Rule
from shared.library.values import product_of
from tests.prompt.library import brand, campaign, policy, rubric, template

WORKSPACE = UUID(int=1)
REQUEST = UUID(int=2)
WHEN = datetime(2030, 1, 1, tzinfo=UTC)


def request(**changes: Any) -> RequestAccepted:
    fields: dict[str, Any] = {
        "cause_id": REQUEST,
        "occurred_at": WHEN,
        "workspace": WORKSPACE,
        "request_id": REQUEST,
        "principal": "ana",
        "brief": Brief(asset_type="tile", template="product-tile@3", brand="Salt & Linden", skus=["OIL-100"]),
        "template": template().pin(),
        "brand": brand().pin(),
        "policy": policy().pin(),
        "rubric": rubric().pin(),
        "products": [product_of(brand().products[0])],
        "variables": {"setting": "stone-sink", "season": "winter"},
        "variants": 1,
        "confidentiality": Confidentiality.PUBLIC,
    }
    return RequestAccepted.of(**{**fields, **changes})


def made(ask: RequestAccepted | None = None, **documents: Any) -> list[PromptAssembled | JobFailed]:
    chosen = {"template": template(), "brand": brand(), "policy": policy(), **documents}
    return assemble(ask or request(), **chosen)


def prompt(ask: RequestAccepted | None = None, **documents: Any) -> PromptAssembled:
    (event,) = made(ask, **documents)
    assert isinstance(event, PromptAssembled)
    return event


def failure(ask: RequestAccepted | None = None, **documents: Any) -> JobFailed:
    (event,) = made(ask, **documents)
    assert isinstance(event, JobFailed)
    return event


def test_a_prompt_says_what_the_template_the_request_and_the_brand_say() -> None:
    assert prompt().prompt == "Body Oil on stone sink, winter. one product, window light."


def test_what_the_prompt_says_already_is_not_said_again() -> None:
    said = prompt(template=template(prompt="Body Oil, ONE product in window light"))
    assert said.prompt == "Body Oil, ONE product in window light"


def test_the_negative_prompt_has_what_the_brand_prohibits() -> None:
    assert prompt().negative_prompt == "text, watermark, people, wet skin"


def test_parameters_are_the_templates_and_nothing_in_a_request_moves_them() -> None:
    film = Lora(name="film", weight=0.6)
    locked = template(
        parameters=LockedParameters(width=640, height=640, steps=8, guidance=3.5, scheduler="ddim", loras=[film])
    )
    found = prompt(request(variables={"setting": "linen", "width": 9, "steps": 200}), template=locked)
    assert found.parameters.model_dump() == locked.parameters.model_dump()


def test_every_job_starts_from_the_pictures_of_its_request() -> None:
    photo = SourceUse(
        role=SourceRole.REFERENCE,
        source_id=REQUEST,
        key="k",
        sha256="5a" * 32,
        media_type="image/png",
        width=9,
        height=9,
    )
    for event in made(request(variants=2, sources=[photo], strength=0.4, reproducible=Reproducible.STRICT)):
        assert isinstance(event, PromptAssembled)
        assert (event.sources, event.strength, event.reproducible) == ([photo], 0.4, Reproducible.STRICT)


def test_one_more_of_a_larger_request_is_worded_and_drawn_as_the_variant_it_is_to_be_like() -> None:
    numbered = template(prompt="oil, view {{ variant }} of {{ variants }}")
    three = made(request(variants=3, seed=7), template=numbered)
    (again,) = made(request(as_variant=3, as_variants=3, seed=9), template=numbered)
    assert isinstance(again, PromptAssembled) and isinstance(three[2], PromptAssembled)
    assert (again.prompt, again.scene, again.seed) == (three[2].prompt, three[2].scene, three[2].seed)
    assert (again.job_id, again.brief.variant) == (ids.job_id(REQUEST, 1), 1)


def test_each_variant_is_a_job_of_its_own() -> None:
    events = made(request(variants=3))
    assert [event.job_id for event in events] == [ids.job_id(REQUEST, number) for number in (1, 2, 3)]
    assert [event.brief.variant for event in events if isinstance(event, PromptAssembled)] == [1, 2, 3]
    assert len({event.event_id for event in events}) == 3


def test_seeds_follow_the_request_or_else_the_job() -> None:
    asked = [event.seed for event in made(request(variants=3, seed=2**31 - 1)) if isinstance(event, PromptAssembled)]
    assert asked == [2**31 - 1, 0, 1]
    assert prompt().seed == ids.seed_for(ids.job_id(REQUEST, 1), None, 1)


def test_the_same_event_gives_the_same_bytes_and_time_stands_still() -> None:
    ask = request(variants=2)
    first, second = made(ask), made(RequestAccepted.model_validate_json(ask.body()))
    assert [event.body() for event in first] == [event.body() for event in second]
    assert [event.headers() for event in first] == [event.headers() for event in second]
    assert {event.occurred_at for event in first} == {WHEN}


def test_a_template_may_tell_variants_apart() -> None:
    events = made(request(variants=2), template=template(prompt="oil, view {{ variant }} of {{ variants }}"))
    prompts = [event.prompt.partition(".")[0] for event in events if isinstance(event, PromptAssembled)]
    assert prompts == ["oil, view 1 of 2", "oil, view 2 of 2"]


def test_variables_that_were_not_given_have_their_default_or_are_empty() -> None:
    ask = request(variables={"setting": "linen"})
    assert "linen, winter." in prompt(ask).prompt
    assert prompt(ask, template=template(prompt="a {{ headline }}b")).prompt.startswith("a b.")


def test_the_campaigns_brief_can_be_named() -> None:
    told = campaign(brief="calm mornings")
    assert prompt(template=template(prompt="{{ campaign.brief }}"), campaign=told).prompt.startswith("calm mornings.")


def test_the_scene_tells_the_renderer_what_the_template_decided() -> None:
    scene = prompt(request(variables={"setting": "linen", "headline": "Slow down"})).scene
    assert scene["wall"] == "bone" and scene["light_side"] == "left"
    assert scene["template"] == "product-tile@3" and scene["layout"] == "tile" and scene["variant"] == 1
    assert scene["headline"] == "Slow down" and scene["palette"] == brand().palette
    assert scene["product"] == {
        "sku": "OIL-100", "name": "Body Oil", "form": "bottle", "tint": "#8A4B14", "label": {"line": "100 ml"},
    }  # fmt: skip


def test_one_changed_variable_changes_only_what_names_it() -> None:
    one = prompt(request(variables={"setting": "linen", "season": "winter"}))
    other = prompt(request(variables={"setting": "linen", "season": "summer"}))
    assert {key for key in one.scene if one.scene[key] != other.scene.get(key)} == {"season"}
    assert one.alt_text == other.alt_text and one.seed == other.seed


def test_a_restricted_term_in_the_rendered_prompt_names_rule_and_remedy() -> None:
    broken = failure(template=template(prompt="oil that c\u200bures {{ setting }}"))
    assert broken.reason is FailureReason.POLICY_REFUSED and broken.stage is Stage.PROMPT
    assert "'medical-claims' of house@1" in broken.detail and "prompt" in broken.detail
    assert broken.remedy == "drop the claim"


@pytest.mark.parametrize(
    "changes",
    [
        {"variables": {"setting": "linen", "headline": "It heals  ECZEMA"}},
        {"products": [Product(sku="A", name="Cures All")]},
        {"intended_use": "tells that it cures"},
    ],
)
def test_everything_a_person_will_read_is_judged(changes: dict[str, Any]) -> None:
    assert failure(request(**changes)).reason is FailureReason.POLICY_REFUSED


def test_a_term_that_only_two_pieces_make_together_is_found() -> None:
    split = template(prompt="{{ 'heals' }} {{ headline }}", scene={}, alt_text="")
    assert failure(request(variables={"headline": "eczema"}), template=split).reason is FailureReason.POLICY_REFUSED


def test_the_negative_prompt_may_name_what_is_unwanted() -> None:
    assert prompt(template=template(negative_prompt="a label that says cures")).negative_prompt.startswith("a label")


def test_every_job_of_a_refused_request_ends() -> None:
    events = made(request(variants=3, intended_use="cures"))
    assert [type(event) for event in events] == [JobFailed] * 3
    assert len({event.job_id for event in events}) == 3


@pytest.mark.parametrize(
    "source",
    ["{{ product.nothing }}", "{% for a in headline %}{% for b in headline %}{% endfor %}{% endfor %}", "{{ 1"],
)
def test_a_template_that_cannot_be_rendered_fails_the_job_and_says_so(source: str) -> None:
    broken = failure(request(variables={"headline": "q" * 60}), template=template(prompt=source))
    assert broken.reason is FailureReason.INVALID_REQUEST
    assert broken.detail.startswith("product-tile@3: ")


def test_a_request_without_a_product_fails_where_the_template_needs_one() -> None:
    assert failure(request(products=[])).reason is FailureReason.INVALID_REQUEST
    assert prompt(request(products=[]), template=template(prompt="a room", alt_text="")).scene.get("product") is None


def test_texts_never_outgrow_an_event() -> None:
    ask = request(variables={"setting": "linen", "headline": "語" * 60})
    wide = template(scene={str(number): "{{ headline }}" * 200 for number in range(4)})
    assert failure(ask, template=wide).detail.endswith("grow beyond 128 KiB")
    most = prompt(ask, template=template(scene={str(number): "{{ headline }}" * 200 for number in range(3)}))
    assert len(most.body()) < MAX_EVENT_BYTES


def test_a_caption_comes_from_the_template_else_from_the_brand() -> None:
    spoken = brand(caption="{{ product.name }} by {{ brand.title }}")
    assert prompt(brand=spoken).caption == "Body Oil by Salt & Linden"
    assert prompt(brand=spoken, template=template(caption="Just {{ product.name }}")).caption == "Just Body Oil"
    assert prompt().caption is None


def test_every_order_of_variables_gives_the_same_prompt() -> None:
    variables = {"setting": "linen", "season": "summer", "headline": "Slow"}
    orders = [dict(order) for order in itertools.permutations(variables.items())]
    assert len({prompt(request(variables=order)).prompt for order in orders}) == 1


def test_a_rule_about_the_headline_holds_for_a_headline_no_prompt_shows() -> None:
    quiet = template(prompt="a room", scene={}, alt_text="")
    rules = [Rule(id="shouting", terms=["sale"], why="we do not shout", remedy="say it calmly")]
    refused = failure(request(variables={"headline": "SALE!"}), template=quiet, policy=policy(rules=rules))
    assert "headline" in refused.detail
