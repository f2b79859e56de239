"""What one document cannot know about itself: its references, and what templates, recipes and routes may get wrong."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.contracts.check_names import ADVISORY, CHECK_NAMES
from shared.library.documents import AnyDocument, Brand, Campaign, Policy, Recipe, Rubric, Template
from shared.library.faults import Fault, fault, twice, unknown
from shared.library.problems import Loc, suggest
from shared.library.recipe_lint import check_steps
from shared.library.rendering import TemplateFault, names_in
from shared.library.routes_lint import check_routes
from shared.library.shelf import Shelf
from shared.library.template_lint import check_template, said
from shared.library.terms import find


def lint(documents: Iterable[AnyDocument], *, published: Shelf) -> list[Fault]:
    """Every fault of `documents`, seen together with what is published already."""
    documents = list(documents)
    faults: list[Fault] = []
    seen: set[tuple[str, str]] = set()
    for document in documents:
        if (document.kind, document.label) in seen:
            faults.append(fault(document, ("version",), "doubled", "stands twice", "raise the version of one of them"))
        seen.add((document.kind, document.label))
        before = published.find(type(document), document.label)
        if before is not None and before.canonical() != document.canonical():
            remedy = f"published versions do not change: give it version {_next_version(document, published)}"
            faults.append(fault(document, ("version",), "published", f"{document.label} is published", remedy))
    shelf = published.with_documents(documents)
    for document in documents:
        faults += _CHECKS.get(document.kind, _nothing)(document, shelf)
    return faults


def _next_version(document: AnyDocument, published: Shelf) -> int:
    newest = published.find(type(document), document.name)
    return newest.version + 1 if newest else 1


def _check_brand(brand: Brand, _: Shelf) -> Iterator[Fault]:
    yield from twice(brand, ("products",), [product.sku for product in brand.products])
    if brand.caption:
        try:
            # Which variables there are is each template's business: there the caption is rendered for a trial.
            names_in(brand.caption)
        except TemplateFault as wrong:
            yield fault(brand, ("caption",), "template_fault", said(wrong), "correct the caption")


def _check_policy(policy: Policy, _: Shelf) -> Iterator[Fault]:
    yield from twice(policy, ("rules",), [rule.id for rule in policy.rules])
    for number, rule in enumerate(policy.rules):
        for place_, term in enumerate(rule.terms):
            if find(policy.model_copy(update={"rules": (rule,)}), term) is None:
                loc = ("rules", number, "terms", place_)
                yield fault(policy, loc, "never_matches", f"{term!r} matches nothing", "a term needs a letter or digit")


def _check_campaign(campaign: Campaign, shelf: Shelf) -> Iterator[Fault]:
    yield from unknown(campaign, ("brand",), Brand, campaign.brand, shelf)
    brand = campaign.brand.partition("@")[0]
    for name, made in campaign.asset_types.items():
        at: Loc = ("asset_types", name)
        yield from unknown(campaign, (*at, "template"), Template, made.template, shelf)
        yield from unknown(campaign, (*at, "rubric"), Rubric, made.rubric, shelf)
        template = shelf.find(Template, made.template)
        if template and template.brand.partition("@")[0] != brand:
            what = f"{template.label} is for brand {template.brand!r}, the campaign for {campaign.brand!r}"
            yield fault(campaign, (*at, "template"), "other_brand", what, "use a template of the campaign's brand")
        for channel, reference in made.recipes.items():
            loc: Loc = (*at, "recipes", channel)
            yield from unknown(campaign, loc, Recipe, reference, shelf)
            recipe = shelf.find(Recipe, reference)
            if recipe and recipe.channel != channel:
                what = f"{recipe.label} is for channel {recipe.channel!r}"
                yield fault(campaign, loc, "other_channel", what, f"use a recipe whose channel is {channel!r}")


def _check_recipe(recipe: Recipe, shelf: Shelf) -> Iterator[Fault]:
    yield from twice(recipe, ("renditions",), [rendition.name for rendition in recipe.renditions])
    brands = [document for document in shelf if isinstance(document, Brand)]
    marks = {name for brand in brands for name in brand.marks} if brands else None
    yield from check_steps(recipe, marks=marks)


def _check_rubric(rubric: Rubric, shelf: Shelf) -> Iterator[Fault]:
    yield from twice(rubric, ("lines",), [line.id for line in rubric.lines])
    named: dict[str, Iterable[str]] = {
        "blocking_checks": rubric.blocking_checks,
        "rejecting_checks": rubric.rejecting_checks,
        "limits": rubric.limits,
    }
    for field, names in named.items():
        for name in sorted(set(names) - CHECK_NAMES):
            what = f"there is no check {name!r} of ours; without one of that name from outside a person decides"
            remedy = suggest(name, CHECK_NAMES)
            yield fault(rubric, (field,), "unknown_check", what, remedy, error=False)
    newest = shelf.find(Rubric, rubric.name)
    if newest is not None and newest.version > rubric.version:
        return  # what is published does not change: to take a check out of it is no advice
    for field in ("blocking_checks", "rejecting_checks"):
        for name in sorted(ADVISORY & set(named[field])):
            what = f"{name!r} errs too often to decide: it only advises, and neither stops nor rejects what fails it"
            remedy = "take it out; its verdict is shown wherever `limits` names it"
            yield fault(rubric, (field,), "advisory_check", what, remedy, error=False)


def _nothing(_: AnyDocument, __: Shelf) -> Iterator[Fault]:
    return iter(())


_CHECKS: dict[str, Callable[[Any, Shelf], Iterator[Fault]]] = {
    "brand": _check_brand,
    "template": check_template,
    "policy": _check_policy,
    "campaign": _check_campaign,
    "recipe": _check_recipe,
    "rubric": _check_rubric,
    "routes": check_routes,
}
