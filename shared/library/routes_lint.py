"""What is wrong with a routing table: rules that never match, and work that none of its backends may take."""

from collections.abc import Iterator, Sequence

from shared.events import Confidentiality, Lane
from shared.library.documents import Backend, Price, RouteRule, Routes
from shared.library.faults import Fault, fault, twice
from shared.library.problems import Loc
from shared.library.shelf import Shelf

LEVELS = "public, internal or confidential"


def check_routes(routes: Routes, _: Shelf) -> Iterator[Fault]:
    yield from twice(routes, ("backends",), [backend.name for backend in routes.backends])
    yield from twice(routes, ("rules",), [rule.id for rule in routes.rules])
    for place_, backend in enumerate(routes.backends):
        yield from _check_backend(routes, backend, ("backends", place_))
    backends = {backend.name: backend for backend in routes.backends}
    for place_, rule in enumerate(routes.rules):
        yield from _check_rule(routes, rule, [backends[name] for name in rule.candidates], ("rules", place_))


def _check_backend(routes: Routes, backend: Backend, at: Loc) -> Iterator[Fault]:
    if backend.ceiling is Confidentiality.UNKNOWN:
        yield fault(routes, (*at, "ceiling"), "unknown_value", "is no level", f"use one of {LEVELS}")
    if backend.available_from and backend.end_of_life and backend.available_from > backend.end_of_life:
        what = f"it begins on {backend.available_from} and ends on {backend.end_of_life}"
        yield fault(routes, (*at, "available_from"), "out_of_range", what, "correct one of the two days")
    yield from _check_prices(routes, backend, at)


def _check_prices(routes: Routes, backend: Backend, at: Loc) -> Iterator[Fault]:
    """Lines of the price list that are never read, and sizes whose images would have no price."""
    quality = backend.call.quality if backend.call else None
    for place_, line in enumerate(backend.prices):
        loc = (*at, "prices", place_)
        if line.quality not in (None, quality):
            asked = f"asked for {quality!r}" if quality else "asked for no quality"
            what = f"is the price of {line.quality!r}, and {backend.name} is {asked}"
            yield fault(routes, loc, "never_matches", what, "name the quality in `call`, or drop it", error=False)
        elif any(_covers(before, line) for before in backend.prices[:place_]):
            yield fault(routes, loc, "never_matches", "a line above it matches first", "move it up", error=False)
    for size in backend.call.sizes if backend.call and backend.prices else ():
        width, _, height = size.partition("x")
        if backend.price_of(int(width), int(height)) is None:
            what = f"{backend.name} makes {size}, which has no price: its cost would be unknown"
            yield fault(routes, (*at, "prices"), "no_price", what, "add a line for it, or `price`", error=False)


def _covers(before: Price, line: Price) -> bool:
    return (
        before.width in (None, line.width)
        and before.height in (None, line.height)
        and before.quality in (None, line.quality)
    )


def _check_rule(routes: Routes, rule: RouteRule, candidates: Sequence[Backend], at: Loc) -> Iterator[Fault]:
    if rule.lane is Lane.UNKNOWN:
        yield fault(routes, (*at, "lane"), "unknown_value", "is no lane", "use dedicated, standard or bulk")
    if Confidentiality.UNKNOWN in rule.confidentiality:
        yield fault(routes, (*at, "confidentiality"), "unknown_value", "is no level", f"use {LEVELS}")
    if rule.canary and rule.canary.backend in rule.backends[:1]:
        what = f"{rule.canary.backend!r} is what the rule prefers anyway"
        yield fault(routes, (*at, "canary"), "never_matches", what, "name another backend", error=False)
    if rule.regions and not any(backend.region in rule.regions for backend in candidates):
        what = f"none of its backends stands in {' or '.join(rule.regions)}"
        yield fault(routes, (*at, "regions"), "unserved", what, "give one of them its `region`", error=False)
    for level in rule.confidentiality:
        if level is not Confidentiality.UNKNOWN and not any(_may_take(backend, level) for backend in candidates):
            what = f"none of its backends may take {level.value} work"
            remedy = "name a private one whose ceiling is high enough"
            yield fault(routes, (*at, "backends"), "unserved", what, remedy, error=False)


def _may_take(backend: Backend, level: Confidentiality) -> bool:
    leaves = backend.visibility != "private" and level.stays_private
    return not leaves and (backend.ceiling is None or level.rank <= backend.ceiling.rank)
