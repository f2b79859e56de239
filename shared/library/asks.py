"""What a request may ask for: one validation for Kafka, HTTP, CSV, JSONL and questions. No I/O, no clock."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from shared.events import Confidentiality, ImageRequested, Problem, SourceUse
from shared.library.documents import BrandProduct, Campaign, Scalar, Template
from shared.library.offers import Offer, Offers
from shared.library.problems import problems_of, suggest
from shared.library.shelf import Shelf
from shared.library.variables import Findings, typed_variables

MAX_JOBS = 100  # of one request; more are more requests
MAX_BYTES = 96 * 1024  # of one request as JSON: what follows from it has to fit into an event of 256 KiB
# Postgres stores no U+0000, and U+001F separates the fields of derived ids; tab and line ends alone are text.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL_IN_JSON = re.compile(r"\\u00[01]|\\[bf]|\x7f")  # quick, and sometimes wrong: an escaped backslash looks alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A valid ask, and the offer that answers it."""

    asked: ImageRequested
    offer: Offer
    channels: list[str]
    products: list[BrandProduct]
    variables: dict[str, Scalar]
    sources: Sequence[SourceUse] = ()

    @property
    def confidentiality(self) -> Confidentiality:
        """The strictest of what was asked and what the products are: an unreleased product is never public."""
        strictest = self.asked.confidentiality
        for product in self.products:
            if product.confidentiality is not strictest and product.confidentiality.rank > strictest.rank:
                strictest = product.confidentiality
        return strictest


def read(value: bytes | str | Mapping[str, Any]) -> ImageRequested | list[Problem]:
    """The ask in a JSON object, or in the cells of a row; or all that is wrong with its form."""
    try:
        if isinstance(value, bytes | str):
            asked = ImageRequested.model_validate_json(value)
        else:
            asked = ImageRequested.model_validate(value)
    except ValidationError as error:
        return [_form(problem) for _, problem in problems_of(error, ImageRequested)]
    problems = [
        Problem(
            code="unknown_value", what="is not one of the known values", where=name, remedy=f"use {', '.join(known)}"
        )
        for name, known in _WORDS.items()
        if getattr(asked, name) == "unknown"
    ]
    if asked.deadline is not None and asked.deadline.tzinfo is None:
        remedy = "end it with Z, or with an offset such as +01:00"
        problems.append(Problem(code="malformed", what="has no time zone", where="deadline", remedy=remedy))
    written = asked.model_dump_json()
    if len(written.encode()) > MAX_BYTES:
        what = f"is larger than {MAX_BYTES // 1024} KiB"
        problems.append(Problem(code="too_large", what=what, remedy="shorten its texts"))
    if _CONTROL_IN_JSON.search(written):
        problems += _controls(asked)
    return problems or asked


_WORDS = {
    "priority": ("low", "normal", "high"),
    "confidentiality": ("public", "internal", "confidential"),
}


def _form(problem: Problem) -> Problem:
    if problem.where == "variants" and problem.code == "out_of_range" and "more" in problem.what:
        remedy = f"ask for at most {MAX_JOBS}, and send the rest as further requests"
        what = f"a request makes at most {MAX_JOBS} jobs"
        return Problem(code="too_many_permutations", what=what, where="variants", remedy=remedy)
    return problem


def _controls(asked: ImageRequested) -> Iterable[Problem]:
    for where, text in _strings(asked.model_dump(mode="json"), ""):
        if found := CONTROL.search(text):
            what = f"contains U+{ord(found[0]):04X}, which is not text"
            yield Problem(code="control_character", what=what, where=where, remedy="remove the character")


def _strings(value: Any, where: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner, f"{where}.{key}" if where else str(key))
            yield f"{where} (a name)", str(key)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _strings(inner, f"{where}[{place}]")


def resolve(asked: ImageRequested, offers: Offers) -> Resolved | list[Problem]:
    """Everything the ask names, found; or every reason why it cannot be."""
    found = Findings()
    campaign = _campaign(asked, offers.shelf, found)
    asset_type = _asset_type(asked, campaign, offers.shelf, found) if campaign else None
    if campaign is None or asset_type is None:
        return found.problems
    reference = _template_reference(asked, campaign.asset_types[asset_type].template, found)
    offer = offers.find(campaign, asset_type, reference)
    if offer is None:
        _say_what_is_missing(asked, campaign, offers.shelf, reference, found)
        return found.problems
    channels = _channels(asked, offer, found)
    products = _products(asked, offer, found)
    variables = typed_variables(asked, offer.template, offer.policy, found)
    _check_roles(asked, found)
    if asked.as_variant is not None and asked.variants != 1:
        found.add("locked", "only a single job can be another's variant", "as_variant", "ask for `variants`: 1")
    if asked.aspect is not None and asked.aspect != offer.template.aspect:
        what = f"{offer.template.label} is {offer.template.aspect}"
        found.add("locked", what, "aspect", "leave it out, or name a template of that aspect")
    if found.problems:
        return found.problems
    return Resolved(asked=asked, offer=offer, channels=channels, products=products, variables=variables)


def _check_roles(asked: ImageRequested, found: Findings) -> None:
    """That the sources make sense together; whether they are there intake alone knows."""
    roles = [named.role for named in asked.sources]
    for place, role in enumerate(roles):
        if role in roles[:place]:
            found.add("doubled", f"is a second {role}", f"sources[{place}].role", f"name one {role}")
    if "reference" in roles:
        return
    if "mask" in roles:
        what = "a mask says which of a picture is made anew, and there is none"
        where = f"sources[{roles.index('mask')}]"
        found.add("without_reference", what, where, "name the picture too, as its reference")
    if asked.strength is not None:
        found.add("without_reference", "there is no picture to leave", "strength", "name a reference, or leave it out")


def _say_what_is_missing(
    asked: ImageRequested, campaign: Campaign, shelf: Shelf, reference: str, found: Findings
) -> None:
    if asked.template is not None and shelf.find(Template, reference) is None:
        what = f"there is no template {reference!r}"
        found.add("unknown_template", what, "template", suggest(reference, shelf.references(Template)))
    else:
        # Publishing refuses such a campaign; only a document that was retired since leads here.
        remedy = "publish what it names, or a new version of the campaign"
        found.add("unknown_reference", f"{campaign.label} names what is not published", "campaign", remedy)


def late(asked: ImageRequested, now: datetime) -> Problem | None:
    """Judged where the request is written, by the database's clock."""
    if asked.deadline is None or asked.deadline > now:
        return None
    what = f"{asked.deadline.isoformat()} is past"
    return Problem(code="out_of_range", what=what, where="deadline", remedy="give a later time, or none")


def _campaign(asked: ImageRequested, shelf: Shelf, found: Findings) -> Campaign | None:
    if asked.campaign is None:
        what = "a campaign chooses template, recipes and rubric"
        found.add("missing_field", what, "campaign", suggest("", shelf.references(Campaign)))
        return None
    campaign = shelf.find(Campaign, asked.campaign) if _is_reference(asked.campaign) else None
    if campaign is None:
        what = f"there is no campaign {asked.campaign!r}"
        found.add("unknown_campaign", what, "campaign", suggest(asked.campaign, shelf.references(Campaign)))
    return campaign


def _asset_type(asked: ImageRequested, campaign: Campaign, shelf: Shelf, found: Findings) -> str | None:
    """The one that is named, or the only one that uses the template that is named."""
    types = campaign.asset_types
    if asked.asset_type is not None:
        if asked.asset_type in types:
            return asked.asset_type
        what = f"{campaign.label} makes no {asked.asset_type!r}"
        found.add("unknown_asset_type", what, "asset_type", suggest(asked.asset_type, types))
        return None
    if asked.template is None:
        found.add("missing_field", "asset type or template is missing", "asset_type", suggest("", types))
        return None
    name = _name(asked.template)
    using = [key for key, made in types.items() if _name(made.template) == name]
    if len(using) == 1:
        return using[0]
    if using:
        what = f"several asset types of {campaign.label} use {name!r}"
        found.add("ambiguous", what, "asset_type", suggest("", using))
    elif _is_reference(asked.template) and shelf.find(Template, asked.template):
        what = f"{campaign.label} does not use {name!r}"
        found.add(
            "outside_campaign", what, "template", suggest(name, [_name(made.template) for made in types.values()])
        )
    else:
        what = f"there is no template {asked.template!r}"
        found.add("unknown_template", what, "template", suggest(asked.template, shelf.references(Template)))
    return None


def _template_reference(asked: ImageRequested, reference: str, found: Findings) -> str:
    """What the campaign says; a request may pin the version the campaign leaves open, nothing more."""
    if asked.template is None or asked.template in {reference, _name(reference)}:
        return reference
    if "@" in reference or _name(asked.template) != reference or not _is_reference(asked.template):
        found.add("outside_campaign", f"the campaign uses {reference!r}", "template", "leave it out, or name that one")
        return reference
    return asked.template


def _name(reference: str) -> str:
    return reference.partition("@")[0]


def _is_reference(text: str) -> bool:
    _, at, version = text.partition("@")
    return not at or (version.isascii() and version.isdigit())


def _channels(asked: ImageRequested, offer: Offer, found: Findings) -> list[str]:
    """Those asked for, once each; all the campaign has if none is."""
    for place, channel in enumerate(asked.channels):
        if channel not in offer.recipes:
            what = f"there is no channel {channel!r} for {offer.asset_type}"
            found.add("unknown_channel", what, f"channels[{place}]", suggest(channel, offer.recipes))
    return list(dict.fromkeys(asked.channels)) or list(offer.recipes)


def _products(asked: ImageRequested, offer: Offer, found: Findings) -> list[BrandProduct]:
    products = []
    for place, sku in enumerate(asked.skus):
        if sku in offer.catalogue:
            products.append(offer.catalogue[sku])
        else:
            what = f"{offer.brand.label} has no product {sku!r}"
            found.add("unknown_sku", what, f"skus[{place}]", suggest(sku, offer.catalogue))
    if not asked.skus and offer.shows_a_product:
        what = f"{offer.template.label} shows a product"
        found.add("missing_field", what, "skus", suggest("", offer.catalogue))
    return products
