"""Routing tables by hand, and generated ones with everything in them that may keep a job from a backend."""

from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

from services.inference.routing import Ask
from shared.events import Confidentiality, Lane, Priority
from shared.library.documents import Backend, Call, Canary, RouteRule, Routes

TODAY = date(2026, 11, 22)
NAMES = ["a", "b", "c", "d"]
PROVIDERS = {"acme": "openai", "other": "openai", "pictures": "stability"}
ABILITIES = ["text-to-image", "image-to-image"]


def backend(name: str, **fields: Any) -> Backend:
    return Backend(**{"name": name, "kind": "proof", "visibility": "private"} | fields)


def table(*backends: Backend, rules: list[RouteRule], **fields: Any) -> Routes:
    return Routes(
        **{"name": "routes", "version": 3, "owner": "platform"} | fields, backends=list(backends), rules=rules
    )


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """So that most backends can be had: a table that takes nothing tests nothing."""
    return st.sampled_from([usual] * 3 * len(others) + list(others))


names = st.sampled_from(NAMES)
days = mostly(None, *(TODAY + timedelta(days=days) for days in (-1, 0, 1)))
levels = st.sampled_from(list(Confidentiality))
regions = st.sampled_from(["eu", "us"])
backends = st.builds(
    backend,
    names,
    kind=st.sampled_from(["proof", "proof", "diffusion", "openai", "openai", "openai", "null"]),
    visibility=st.sampled_from(["private", "cloud"]),
    pool=mostly("standard", "dedicated"),
    enabled=mostly(True, False),  # noqa: FBT003
    model=st.sampled_from([None, "sd15", "sd15"]),
    call=mostly("acme", "other", "pictures", "nobody", None).map(lambda name: name and Call(provider=name)),
    ceiling=mostly(None, *Confidentiality),
    region=st.none() | regions,
    end_of_life=days,
    available_from=days,
    capabilities=mostly(ABILITIES, *([ability] for ability in ABILITIES)),
)
# What may really leave, with little else that keeps a job from it.
callers = st.builds(
    backend,
    names,
    kind=st.just("openai"),
    visibility=st.sampled_from(["private", "cloud"]),
    model=st.just("sd15"),
    call=mostly("acme", "other", "nobody").map(lambda name: Call(provider=name)),
    ceiling=mostly(None, *Confidentiality),
    region=st.just("eu"),
    end_of_life=days,
    capabilities=st.just(ABILITIES),
)
asks = st.builds(
    Ask,
    confidentiality=levels,
    priority=st.sampled_from(list(Priority)),
    bulk=st.booleans(),
    model=st.sampled_from([None, "sd15", "sdxl"]),
    capabilities=st.sampled_from(ABILITIES).map(lambda ability: frozenset({ability})),
)


@st.composite
def tables(draw: st.DrawFn, *, many: int = 1, of: st.SearchStrategy[Backend] = backends) -> Routes:
    """With so many backends at least, and from 2 on with a rule."""
    known = draw(st.lists(of, min_size=many, max_size=4, unique_by=lambda made: made.name))
    there = st.sampled_from([made.name for made in known])
    rule = st.builds(
        RouteRule,
        id=names,
        confidentiality=mostly(list(Confidentiality), []) | st.lists(levels, max_size=3),
        priority=mostly([], ["low"], ["normal", "high"]),
        bulk=mostly(None, True, False),  # noqa: FBT003
        lane=mostly(Lane.STANDARD, Lane.DEDICATED, Lane.BULK, Lane.UNKNOWN),
        backends=st.lists(there, min_size=many, max_size=4),
        regions=mostly([], ["eu"]),
        canary=st.none() | st.builds(Canary, backend=there, percent=st.sampled_from([1, 50, 100])),
    )
    return table(*known, rules=draw(st.lists(rule, min_size=int(many > 1), max_size=4, unique_by=lambda made: made.id)))


CHANGES = ["visibility", "ceiling", "enabled", "end_of_life", "call", "kind", "gone"]


@st.composite
def corrected(draw: st.DrawFn, routes: Routes) -> Routes:
    """The next version of a table: backends are another kind of place by now, or gone."""
    known = []
    for made in routes.backends:
        other = draw(backends | callers)
        fields = draw(st.sets(st.sampled_from(CHANGES), max_size=2))
        if "gone" not in fields:
            known.append(made.model_copy(update={name: getattr(other, name) for name in fields}))
    there = {made.name for made in known}
    rules = [
        rule.model_copy(
            update={
                "confidentiality": draw(mostly(rule.confidentiality, [])),
                "backends": [name for name in rule.backends if name in there],
                "canary": rule.canary if rule.canary and rule.canary.backend in there else None,
            }
        )
        for rule in routes.rules
    ]
    return table(*known, rules=rules, version=routes.version + 1)
