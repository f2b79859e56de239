"""What one document cannot know about itself: references, names in templates, and how a template really renders."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.contracts.check_names import ADVISORY, CHECK_NAMES
from shared.events import Confidentiality, Lane, Problem
from shared.library.documents import (
    AnyDocument,
    Backend,
    Brand,
    Campaign,
    Document,
    Policy,
    Price,
    Recipe,
    RouteRule,
    Routes,
    Rubric,
    Template,
)
from shared.library.problems import Loc, place, suggest
from shared.library.recipe_lint import check_steps
from shared.library.rendering import TemplateFault, names_in, render
from shared.library.shelf import Shelf
from shared.library.terms import find
from shared.library.values import WORDS, product_of, sources_of, values_of

MAX_TRIALS = 200  # renderings of one template; enough for every value of every choice with every product, one by one
PLACES: dict[str, tuple[str, ...]] = {
    "light_side": ("left", "right"),
    "headline_space": ("none", "left", "right", "top"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding in one document; a warning (`error` False) does not keep it from being published."""

    document: AnyDocument
    loc: Loc
    problem: Problem
    error: bool = True


def lint(documents: Iterable[AnyDocument], *, published: Shelf) -> list[Fault]:
    """Every fault of `documents`, seen together with what is published already."""
    documents = list(documents)
    faults: list[Fault] = []
    seen: set[tuple[str, str]] = set()
    for document in documents:
        if (document.kind, document.label) in seen:
            faults.append(_fault(document, ("version",), "doubled", "stands twice", "raise the version of one of them"))
        seen.add((document.kind, document.label))
        before = published.find(type(document), document.label)
        if before is not None and before.canonical() != document.canonical():
            remedy = f"published versions do not change: give it version {_next_version(document, published)}"
            faults.append(_fault(document, ("version",), "published", f"{document.label} is published", remedy))
    shelf = published.with_documents(documents)
    for document in documents:
        faults += _CHECKS.get(document.kind, _nothing)(document, shelf)
    return faults


def _next_version(document: AnyDocument, published: Shelf) -> int:
    newest = published.find(type(document), document.name)
    return newest.version + 1 if newest else 1


def _fault(document: AnyDocument, loc: Loc, code: str, what: str, remedy: str, *, error: bool = True) -> Fault:
    return Fault(document, loc, Problem(code=code, what=what, where=place(loc), remedy=remedy), error)


def _unknown(document: AnyDocument, loc: Loc, kind: type[Document], reference: str, shelf: Shelf) -> Iterator[Fault]:
    if shelf.find(kind, reference) is None:
        what = f"there is no {kind.__name__.lower()} {reference!r}"
        yield _fault(document, loc, "unknown_reference", what, suggest(reference, shelf.references(kind)))


def _twice(document: AnyDocument, loc: Loc, names: Iterable[str]) -> Iterator[Fault]:
    for name, count in Counter(names).items():
        if count > 1:
            yield _fault(document, loc, "doubled", f"{name!r} stands {count} times", "keep one of them")


def _check_brand(brand: Brand, _: Shelf) -> Iterator[Fault]:
    yield from _twice(brand, ("products",), [product.sku for product in brand.products])
    if brand.caption:
        try:
            # Which variables there are is each template's business: there the caption is rendered for a trial.
            names_in(brand.caption)
        except TemplateFault as fault:
            yield _fault(brand, ("caption",), "template_fault", _said(fault), "correct the caption")


def _check_template(template: Template, shelf: Shelf) -> Iterator[Fault]:
    yield from _unknown(template, ("brand",), Brand, template.brand, shelf)
    yield from _unknown(template, ("policy",), Policy, template.policy, shelf)
    yield from _twice(template, ("parameters", "loras"), [lora.name for lora in template.parameters.loras])
    for name in WORDS & template.variables.keys():
        what = f"{name!r} already means something in every template"
        yield _fault(template, ("variables", name), "reserved", what, "give the variable another name")
    known = WORDS | template.variables.keys()
    compiles = True
    for loc, source in sources_of(template):
        try:
            for name in sorted(names_in(source) - known):
                compiles = False
                what = f"{name!r} is no variable of this template"
                yield _fault(template, loc, "unknown_variable", what, suggest(name, known))
        except TemplateFault as fault:
            compiles = False
            yield _fault(template, loc, "template_fault", _said(fault), "correct the template")
    brand, policy = shelf.find(Brand, template.brand), shelf.find(Policy, template.policy)
    if compiles and brand and policy:
        yield from _try(template, brand, policy)
    across, _, down = template.aspect.partition(":")
    size = template.parameters
    if not (across.isdigit() and down.isdigit() and int(across) and int(down)):
        yield _fault(template, ("aspect",), "malformed", f"{template.aspect!r} is no aspect", "write it like 4:5")
    elif abs(size.width / size.height - int(across) / int(down)) > 0.02:  # models take steps of 8 px
        what = f"{size.width} × {size.height} is not {template.aspect}"
        yield _fault(template, ("parameters",), "aspect", what, "change the size or the aspect")


def _said(fault: TemplateFault) -> str:
    return f"{fault} (line {fault.line} of the text)" if fault.line > 1 else str(fault)


def _try(template: Template, brand: Brand, policy: Policy) -> Iterator[Fault]:
    """Renders every string with every product and every value of every choice, so that no request is the first to."""
    told: set[Loc] = set()
    for values in _trials(template, brand):
        components: dict[str, str] = {}
        caption = [] if template.caption or not brand.caption else [(("caption",), brand.caption)]
        for loc, source in [*sources_of(template), *caption]:
            if loc in told:
                continue
            try:
                text = render(source, {**values, "components": components})
            except TemplateFault as fault:
                told.add(loc)
                example = ", ".join(f"{name}={values[name]!r}" for name in template.variables)
                what = f"{_said(fault)} (with {values['product'].get('sku', 'no product')}; {example})"
                yield _fault(template, loc, "template_fault", what, "correct it, or give it a `default`")
                continue
            if loc[0] == "components":
                components[str(loc[1])] = text
            for fault_ in _judge(template, brand, policy, loc, text):
                told.add(loc)
                yield fault_


def _trials(template: Template, brand: Brand) -> Iterator[Mapping[str, Any]]:
    """One rendering with first values everywhere, then each other value and each other product by itself."""
    sample: dict[str, Any] = {name: _sample(variable) for name, variable in template.variables.items()}
    products = [product_of(line) for line in brand.products]
    yield from (
        {**values_of(template, brand, variables=variables, products=shown), "variant": 1}
        for variables, shown in [
            (sample, products[:1]),
            *(
                (sample | {name: value}, products[:1])
                for name, variable in template.variables.items()
                for value in variable.values
            ),
            *((sample, [product]) for product in products[1:]),
        ][:MAX_TRIALS]
    )


def _sample(variable: Any) -> str | int | float | bool:
    if variable.values:
        return str(variable.values[0])
    if variable.default is not None:
        return variable.default  # type: ignore[no-any-return]
    return {"integer": int(variable.minimum or 1), "number": float(variable.minimum or 1), "boolean": True}.get(
        variable.type, "Sample"
    )


def _judge(template: Template, brand: Brand, policy: Policy, loc: Loc, text: str) -> Iterator[Fault]:
    if loc in {("prompt",), ("alt_text",), ("caption",)} and (hit := find(policy, text)):
        what = f"says {hit.term!r}, which rule {hit.rule.id!r} of {policy.label} forbids: {hit.rule.why}"
        yield _fault(template, loc, "policy_refused", what, hit.rule.remedy)
    if len(loc) != 2 or loc[0] != "scene" or not text:  # a path below `scene`
        return
    name = str(loc[1])
    if name in {"wall", "accent"} and text not in brand.palette:
        what = f"{text!r} is no colour of {brand.label}"
        yield _fault(template, loc, "unknown_value", what, suggest(text, brand.palette))
    elif text not in PLACES.get(name, (text,)):
        yield _fault(template, loc, "unknown_value", f"{text!r} is not understood", suggest(text, PLACES[name]))


def _check_policy(policy: Policy, _: Shelf) -> Iterator[Fault]:
    yield from _twice(policy, ("rules",), [rule.id for rule in policy.rules])
    for number, rule in enumerate(policy.rules):
        for place_, term in enumerate(rule.terms):
            if find(policy.model_copy(update={"rules": (rule,)}), term) is None:
                loc = ("rules", number, "terms", place_)
                yield _fault(
                    policy, loc, "never_matches", f"{term!r} matches nothing", "a term needs a letter or digit"
                )


def _check_campaign(campaign: Campaign, shelf: Shelf) -> Iterator[Fault]:
    yield from _unknown(campaign, ("brand",), Brand, campaign.brand, shelf)
    brand = campaign.brand.partition("@")[0]
    for name, made in campaign.asset_types.items():
        at: Loc = ("asset_types", name)
        yield from _unknown(campaign, (*at, "template"), Template, made.template, shelf)
        yield from _unknown(campaign, (*at, "rubric"), Rubric, made.rubric, shelf)
        template = shelf.find(Template, made.template)
        if template and template.brand.partition("@")[0] != brand:
            what = f"{template.label} is for brand {template.brand!r}, the campaign for {campaign.brand!r}"
            yield _fault(campaign, (*at, "template"), "other_brand", what, "use a template of the campaign's brand")
        for channel, reference in made.recipes.items():
            loc: Loc = (*at, "recipes", channel)
            yield from _unknown(campaign, loc, Recipe, reference, shelf)
            recipe = shelf.find(Recipe, reference)
            if recipe and recipe.channel != channel:
                what = f"{recipe.label} is for channel {recipe.channel!r}"
                yield _fault(campaign, loc, "other_channel", what, f"use a recipe whose channel is {channel!r}")


def _check_recipe(recipe: Recipe, shelf: Shelf) -> Iterator[Fault]:
    yield from _twice(recipe, ("renditions",), [rendition.name for rendition in recipe.renditions])
    brands = [document for document in shelf if isinstance(document, Brand)]
    marks = {name for brand in brands for name in brand.marks} if brands else None
    for found in check_steps(recipe, marks=marks):
        yield _fault(recipe, found.loc, found.code, found.what, found.remedy, error=found.error)


def _check_rubric(rubric: Rubric, _: Shelf) -> Iterator[Fault]:
    yield from _twice(rubric, ("lines",), [line.id for line in rubric.lines])
    named: dict[str, Iterable[str]] = {
        "blocking_checks": rubric.blocking_checks,
        "rejecting_checks": rubric.rejecting_checks,
        "limits": rubric.limits,
    }
    for field, names in named.items():
        for name in sorted(set(names) - CHECK_NAMES):
            what = f"there is no check {name!r} of ours; without one of that name from outside a person decides"
            remedy = suggest(name, CHECK_NAMES)
            yield _fault(rubric, (field,), "unknown_check", what, remedy, error=False)
    for field in ("blocking_checks", "rejecting_checks"):
        for name in sorted(ADVISORY & set(named[field])):
            what = f"{name!r} errs too often to decide: it only advises, and neither stops nor rejects what fails it"
            remedy = "take it out; its verdict is shown wherever `limits` names it"
            yield _fault(rubric, (field,), "advisory_check", what, remedy, error=False)


def _check_routes(routes: Routes, _: Shelf) -> Iterator[Fault]:
    yield from _twice(routes, ("backends",), [backend.name for backend in routes.backends])
    yield from _twice(routes, ("rules",), [rule.id for rule in routes.rules])
    for place_, backend in enumerate(routes.backends):
        yield from _check_backend(routes, backend, ("backends", place_))
    backends = {backend.name: backend for backend in routes.backends}
    for place_, rule in enumerate(routes.rules):
        yield from _check_rule(routes, rule, [backends[name] for name in rule.candidates], ("rules", place_))


def _check_backend(routes: Routes, backend: Backend, at: Loc) -> Iterator[Fault]:
    if backend.ceiling is Confidentiality.UNKNOWN:
        yield _fault(routes, (*at, "ceiling"), "unknown_value", "is no level", f"use one of {_LEVELS}")
    if backend.available_from and backend.end_of_life and backend.available_from > backend.end_of_life:
        what = f"it begins on {backend.available_from} and ends on {backend.end_of_life}"
        yield _fault(routes, (*at, "available_from"), "out_of_range", what, "correct one of the two days")
    yield from _check_prices(routes, backend, at)


def _check_prices(routes: Routes, backend: Backend, at: Loc) -> Iterator[Fault]:
    """Lines of the price list that are never read, and sizes whose images would have no price."""
    quality = backend.call.quality if backend.call else None
    for place_, line in enumerate(backend.prices):
        loc = (*at, "prices", place_)
        if line.quality not in (None, quality):
            asked = f"asked for {quality!r}" if quality else "asked for no quality"
            what = f"is the price of {line.quality!r}, and {backend.name} is {asked}"
            yield _fault(routes, loc, "never_matches", what, "name the quality in `call`, or drop it", error=False)
        elif any(_covers(before, line) for before in backend.prices[:place_]):
            yield _fault(routes, loc, "never_matches", "a line above it matches first", "move it up", error=False)
    for size in backend.call.sizes if backend.call and backend.prices else ():
        width, _, height = size.partition("x")
        if backend.price_of(int(width), int(height)) is None:
            what = f"{backend.name} makes {size}, which has no price: its cost would be unknown"
            yield _fault(routes, (*at, "prices"), "no_price", what, "add a line for it, or `price`", error=False)


def _covers(before: Price, line: Price) -> bool:
    return (
        before.width in (None, line.width)
        and before.height in (None, line.height)
        and before.quality in (None, line.quality)
    )


def _check_rule(routes: Routes, rule: RouteRule, candidates: Sequence[Backend], at: Loc) -> Iterator[Fault]:
    if rule.lane is Lane.UNKNOWN:
        yield _fault(routes, (*at, "lane"), "unknown_value", "is no lane", "use dedicated, standard or bulk")
    if Confidentiality.UNKNOWN in rule.confidentiality:
        yield _fault(routes, (*at, "confidentiality"), "unknown_value", "is no level", f"use {_LEVELS}")
    if rule.canary and rule.canary.backend in rule.backends[:1]:
        what = f"{rule.canary.backend!r} is what the rule prefers anyway"
        yield _fault(routes, (*at, "canary"), "never_matches", what, "name another backend", error=False)
    if rule.regions and not any(backend.region in rule.regions for backend in candidates):
        what = f"none of its backends stands in {' or '.join(rule.regions)}"
        yield _fault(routes, (*at, "regions"), "unserved", what, "give one of them its `region`", error=False)
    for level in rule.confidentiality:
        if level is not Confidentiality.UNKNOWN and not any(_may_take(backend, level) for backend in candidates):
            what = f"none of its backends may take {level.value} work"
            remedy = "name a private one whose ceiling is high enough"
            yield _fault(routes, (*at, "backends"), "unserved", what, remedy, error=False)


def _may_take(backend: Backend, level: Confidentiality) -> bool:
    leaves = backend.visibility != "private" and level.stays_private
    return not leaves and (backend.ceiling is None or level.rank <= backend.ceiling.rank)


_LEVELS = "public, internal or confidential"


def _nothing(_: AnyDocument, __: Shelf) -> Iterator[Fault]:
    return iter(())


_CHECKS: dict[str, Callable[[Any, Shelf], Iterator[Fault]]] = {
    "brand": _check_brand,
    "template": _check_template,
    "policy": _check_policy,
    "campaign": _check_campaign,
    "recipe": _check_recipe,
    "rubric": _check_rubric,
    "routes": _check_routes,
}
