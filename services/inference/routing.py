"""Where a job may be made: a pure function of the routing table and the job, with a reason for every backend.

The first rule of the table that matches names the candidates in order of preference; the first one that may and can
take the job is chosen. Nothing else is tried: what no rule permits is `unroutable`, and says what is missing. Above the
table stands one law that no table can relax: confidential work is made on private backends only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from shared.events import Confidentiality, Lane, Priority, Route
from shared.library.documents import Backend, RouteRule, Routes

# The kinds of backend this release can run; a table may already name others, switched off or for an estimate.
RUNNABLE = frozenset({"proof", "diffusion", "null", "openai"})
# Kinds that call a provider by the route's `call`.
CALLING = frozenset({"openai"})
# Kinds that draw without a model: a template that locks one still gets its comp.
WITHOUT_MODEL = frozenset({"proof", "null"})
LANES = frozenset({Lane.DEDICATED, Lane.STANDARD, Lane.BULK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What routing looks at; `bulk`: the job came with a batch. Width and height in pixels."""

    confidentiality: Confidentiality
    priority: Priority = Priority.NORMAL
    bulk: bool = False
    width: int = 1024
    height: int = 1024
    model: str | None = None
    capabilities: frozenset[str] = frozenset({"text-to-image"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One backend, the lane to wait in, and why; `route` is the same for the record."""

    backend: Backend
    model: str
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Unroutable:
    """No backend may take the job: what is missing, what to do, and why not each backend."""

    missing: str
    remedy: str
    rule: str | None = None
    refused: dict[str, str] = field(default_factory=dict)


def decide(
    ask: Ask, *, table: Routes | None, today: date, runnable: Iterable[str] = RUNNABLE, providers: Iterable[str] = ()
) -> Decision | Unroutable:
    """The route of one job. `today` decides a backend's end of life; `providers` are those this deployment can call."""
    if table is None:
        return Unroutable(
            missing="the workspace has no routing table", remedy="publish one: calotype library publish DIR"
        )
    backends = {backend.name: backend for backend in table.backends}
    refused = {
        name: why for name, backend in backends.items() if (why := _unfit(backend, ask, today, runnable, providers))
    }
    rule = next((rule for rule in table.rules if _matches(rule, ask)), None)
    if rule is None:
        return Unroutable(
            missing=f"no rule of {table.label} takes {_described(ask)}",
            remedy="add a rule that names these, or ask for what a rule takes",
            refused=refused,
        )
    if rule.lane not in LANES:
        return Unroutable(
            missing=f"rule {rule.id!r} of {table.label} names no known lane",
            remedy="write dedicated, standard or bulk",
            rule=rule.id,
            refused=refused,
        )
    refused |= _refused_by(rule, ask, backends, refused)
    chosen = next((name for name in rule.backends if name not in refused), None)
    if chosen is None:
        reasons = "; ".join(f"{name}: {refused[name]}" for name in dict.fromkeys(rule.backends))
        return Unroutable(
            missing=f"rule {rule.id!r} permits none of its backends ({reasons})",
            remedy=f"give rule {rule.id!r} a backend that may take {_described(ask)}",
            rule=rule.id,
            refused=refused,
        )
    for name in backends:
        if name != chosen and name not in refused:
            refused[name] = (
                f"rule {rule.id!r} prefers {chosen}" if name in rule.backends else f"rule {rule.id!r} does not name it"
            )
    return Decision(
        backend=backends[chosen],
        model=ask.model or backends[chosen].model or "",
        route=Route(
            backend=chosen,
            lane=rule.lane,
            rule=rule.id,
            reason=_reason(rule, ask, backends[chosen]),
            refused=refused,
            table=table.pin(),
        ),
    )


def is_bound_to_private(confidentiality: Confidentiality) -> bool:
    """A level this release does not know counts as the highest."""
    return confidentiality.rank >= Confidentiality.CONFIDENTIAL.rank


def _matches(rule: RouteRule, ask: Ask) -> bool:
    return (
        (not rule.confidentiality or ask.confidentiality in rule.confidentiality)
        and (not rule.priority or ask.priority.value in rule.priority)
        and (rule.bulk is None or rule.bulk == ask.bulk)
    )


def _unfit(backend: Backend, ask: Ask, today: date, runnable: Iterable[str], providers: Iterable[str]) -> str | None:
    """Why this backend cannot take the job under any rule."""
    if is_bound_to_private(ask.confidentiality) and backend.visibility != "private":
        return f"it is not private, and {ask.confidentiality.value} work never leaves private backends"
    if not backend.enabled:
        return "it is switched off"
    if backend.kind not in runnable:
        return f"no worker runs backends of kind {backend.kind!r}"
    if backend.end_of_life is not None and today > backend.end_of_life:
        return f"its life ended on {backend.end_of_life.isoformat()}"
    return _uncallable(backend, providers) or _incapable(backend, ask)


def _uncallable(backend: Backend, providers: Iterable[str]) -> str | None:
    if backend.kind not in CALLING:
        return None
    if backend.call is None:
        return "it names no provider to call"
    if backend.call.provider not in providers:
        return f"no worker knows the provider {backend.call.provider!r}"
    return None


def _incapable(backend: Backend, ask: Ask) -> str | None:
    if lacking := ask.capabilities - set(backend.capabilities):
        return f"it cannot do {', '.join(sorted(lacking))}"
    if ask.width > backend.max_width or ask.height > backend.max_height:
        return f"{ask.width} × {ask.height} px is more than its {backend.max_width} × {backend.max_height}"
    if backend.call is not None and backend.call.sizes and f"{ask.width}x{ask.height}" not in backend.call.sizes:
        return f"it makes {', '.join(backend.call.sizes)}, and not {ask.width} × {ask.height} px"
    return _wrong_model(backend, ask)


def _wrong_model(backend: Backend, ask: Ask) -> str | None:
    if backend.kind in WITHOUT_MODEL:
        return None
    if backend.model is None and ask.model is None:
        return "neither it nor the template names a model"
    if backend.model is not None and ask.model is not None and backend.model != ask.model:
        return f"it runs {backend.model}, and the template asks for {ask.model}"
    return None


def _refused_by(rule: RouteRule, ask: Ask, backends: dict[str, Backend], refused: dict[str, str]) -> dict[str, str]:
    """Why this rule keeps the job from backends that could take it under another."""
    found = {}
    for name in rule.backends:
        if name in refused:
            continue
        if backends[name].pool == "dedicated" and rule.lane is not Lane.DEDICATED:
            found[name] = f"its pool is kept for the dedicated lane, and this is {rule.lane.value} work"
        elif _leaves_unasked(rule, ask, backends[name]):
            found[name] = f"it is not private, and rule {rule.id!r} does not name {ask.confidentiality.value} work"
    return found


def _leaves_unasked(rule: RouteRule, ask: Ask, backend: Backend) -> bool:
    """A rule for any confidentiality lets only public work out; anything above must be named to leave."""
    return (
        backend.visibility != "private"
        and ask.confidentiality is not Confidentiality.PUBLIC
        and ask.confidentiality not in rule.confidentiality
    )


def _described(ask: Ask) -> str:
    return f"{ask.confidentiality.value} work of {ask.priority.value} priority{' in bulk' if ask.bulk else ''}"


def _reason(rule: RouteRule, ask: Ask, backend: Backend) -> str:
    place = f"{backend.visibility} backend {backend.name}" + (
        " (dedicated pool)" if backend.pool == "dedicated" else ""
    )
    return f"{_described(ask)} → {place}, {rule.lane.value} lane, by rule {rule.id!r}"


def current_table(published: Iterable[Routes]) -> Routes | Unroutable | None:
    """The workspace's table: the newest version of the only one there is, or of the one named `default`."""
    newest: dict[str, Routes] = {}
    for table in published:
        if table.name not in newest or newest[table.name].version < table.version:
            newest[table.name] = table
    if len(newest) < 2:
        return next(iter(newest.values()), None)
    return newest.get("default") or Unroutable(
        missing=f"the workspace has several routing tables ({', '.join(sorted(newest))}) and none is named default",
        remedy="retire all but one, or name one of them default",
    )
