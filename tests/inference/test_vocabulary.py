"""What a provider has no words for is no route, and is said with everything else that is none."""

from typing import Any

import pytest

from services.inference.domain import ask_of
from services.inference.routing import Decision, Unroutable, decide
from shared.events import Parameters, SourceRole, SourceUse
from tests.inference.prompts import NOW, PHOTO, assembled, routes

ALL = ["text-to-image", "image-to-image", "inpainting"]
WIDE = Parameters(width=1216, height=832, steps=4, guidance=5.0)


def routed(kind: str, model: str, *sources: SourceUse, parameters: Parameters = WIDE) -> Decision | Unroutable:
    table = routes(kind, model=model, capabilities=ALL, call={"provider": "acme"})
    event = assembled(parameters=parameters, sources=list(sources))
    return decide(ask_of(event), table=table, today=NOW.date(), providers={"acme": kind})


def of_size(width: int, height: int, role: str = "reference") -> SourceUse:
    return PHOTO.model_copy(update={"role": SourceRole(role), "width": width, "height": height})


PICTURE, MASK = of_size(1216, 832), of_size(1216, 832, role="mask")
ODD = WIDE.model_copy(update={"height": 640})


@pytest.mark.parametrize(
    ("kind", "model", "sources", "more", "why"),
    [
        ("stability", "core", [PICTURE], {}, "'stability' cannot start `core` from a picture"),
        ("stability", "ultra", [], {"parameters": ODD}, "cannot make 1216 × 640 px: it knows the shapes 16:9"),
        ("stability", "sd3.5-large", [of_size(64, 64)], {}, "another size of a 64 × 64 px reference"),
        ("stability", "ultra", [PICTURE, of_size(64, 64, "mask")], {}, "another size of a 64 × 64 px mask"),
        ("stability", "ultra", [PICTURE, PICTURE], {}, "take a second reference"),
        ("replicate", "a/b", [PICTURE, PICTURE], {}, "take a second reference"),
        ("replicate", "sdxl", [], {}, "cannot run 'sdxl': its models are called owner/name"),
        ("bedrock", "stability.sd3-5-large-v1:0", [], {"parameters": ODD}, "cannot make 1216 × 640 px"),
        ("bedrock", "amazon.nova-canvas-v1:0", [PICTURE, PICTURE, MASK], {}, "fill a mask of anything but one picture"),
        ("bedrock", "luma.ray-v2:0", [], {}, "be asked for luma.ray-v2:0 by this release"),
        ("openai", "m", [PICTURE, MASK, MASK], {}, "edit without a picture, or with two masks"),
    ],
)
def test_what_a_provider_has_no_words_for_is_unroutable_at_once(
    kind: str, model: str, sources: list[SourceUse], more: dict[str, Any], why: str
) -> None:
    found = routed(kind, model, *sources, **more)
    assert isinstance(found, Unroutable) and why in found.refused["local"]


@pytest.mark.parametrize(
    ("kind", "model", "sources", "more"),
    [
        ("stability", "core", [], {}),
        ("stability", "core", [PICTURE, MASK], {}),
        ("stability", "sd3.5-large", [PICTURE], {}),
        ("stability", "ultra", [of_size(1216, 640)], {"parameters": ODD}),
        ("replicate", "a/b", [of_size(64, 64)], {"parameters": ODD}),
        ("bedrock", "amazon.nova-canvas-v1:0", [PICTURE, PICTURE], {"parameters": ODD}),
        ("openai", "m", [PICTURE, PICTURE, MASK], {"parameters": ODD}),
    ],
)
def test_what_it_has_words_for_is_routed(kind: str, model: str, sources: list[SourceUse], more: dict[str, Any]) -> None:
    assert isinstance(routed(kind, model, *sources, **more), Decision)


def test_another_backend_of_the_rule_takes_what_the_first_has_no_words_for() -> None:
    table = routes("stability", model="core", capabilities=ALL, call={"provider": "acme"})
    studio = routes("diffusion", model="tiny", capabilities=ALL).backends[0].model_copy(update={"name": "studio"})
    rules = [rule.model_copy(update={"backends": ["local", "studio"]}) for rule in table.rules]
    table = table.model_copy(update={"backends": [*table.backends, studio], "rules": rules})
    event = assembled(parameters=WIDE, sources=[PICTURE])
    found = decide(ask_of(event), table=table, today=NOW.date(), providers={"acme": "stability"})
    assert isinstance(found, Decision) and found.backend.name == "studio"
    assert "cannot start `core` from a picture" in found.route.refused["local"]
