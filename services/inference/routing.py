"""Where a job may be made: a pure function of the routing table and the job, with a reason for every backend.

The first rule of the table that matches names the candidates in order of preference; the first one that may and can
take the job is chosen. Nothing else is tried: what no rule permits is `unroutable`, and says what is missing. Above the
table stands one law that no table can relax, and no fallback: confidential work is made on private backends only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

from services.inference.backends.vocabulary import Given, Wanted, unable
from shared.events import Confidentiality, Lane, Pin, Priority, Route
from shared.library.documents import Backend, RouteRule, Routes

# The kinds of backend this release can run; a table may already name others, switched off or for an estimate.
RUNNABLE = frozenset({"proof", "diffusion", "null", "openai", "stability", "replicate", "bedrock"})
# Kinds that call a provider by the route's `call`.
CALLING = frozenset({"openai", "stability", "replicate", "bedrock"})
# Kinds that draw without a model: a template that locks one still gets its comp.
WITHOUT_MODEL = frozenset({"proof", "null"})
# Kinds that start from words alone, whatever a table says of them: a picture would be left out, which nobody asked for.
FROM_WORDS = frozenset({"proof", "null"})
# Kinds that are told the LoRAs of a job.
WITH_LORAS = frozenset({"diffusion"})
LANES = frozenset({Lane.DEDICATED, Lane.STANDARD, Lane.BULK})
LEVELS = (Confidentiality.PUBLIC, Confidentiality.INTERNAL, Confidentiality.CONFIDENTIAL)
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What routing looks at. Width and height in pixels.

    `bulk`: the job came with a batch; `strict`: its bytes must be the same alone and in a crowd.
    """

    confidentiality: Confidentiality
    priority: Priority = Priority.NORMAL
    bulk: bool = False
    width: int = 1024
    height: int = 1024
    model: str | None = None
    capabilities: frozenset[str] = frozenset({"text-to-image"})
    loras: frozenset[str] = frozenset()
    sources: tuple[Given, ...] = ()
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Where work was sent by the table of its day; `provider`: whom that calls."""

    backend: str
    kind: str
    provider: str | None
    confidentiality: Confidentiality


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One backend, the lane to wait in, and why; `route` is the same for the record. `price` None: nobody knows it."""

    backend: Backend
    model: str
    price: Decimal | None
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Unroutable:
    """No backend may take the job: what is missing, what to do, and why not each backend of the table."""

    missing: str
    remedy: str
    rule: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    table: Pin | None = None


NO_TABLE = Unroutable(missing="the workspace has no routing table", remedy="publish one: calotype library publish DIR")


def decide(
    ask: Ask,
    *,
    table: Routes | None,
    today: date,
    runnable: Iterable[str] = RUNNABLE,
    providers: Mapping[str, str] = NOTHING,
    bucket: int | None = None,
    avoid: Mapping[str, str] = NOTHING,
) -> Decision | Unroutable:
    """The route of one job.

    `today` decides a backend's life; `providers` are those this deployment can call, each by the kind that it speaks;
    `bucket` says which canaries have the job (none where it is None); `avoid` names backends that are not to be taken
    now, and why.
    """
    if table is None:
        return NO_TABLE
    refused = {
        backend.name: why
        for backend in table.backends
        if (why := _unfit(backend, ask.confidentiality, today, runnable, providers, avoid) or _incapable(backend, ask))
    }
    rule = next((rule for rule in table.rules if _matches(rule, ask)), None)
    if rule is None or rule.lane not in LANES:
        return _without_a_lane(rule, ask, table, refused)
    backends = {backend.name: backend for backend in table.backends}
    canary = rule.canary if rule.canary and bucket is not None and bucket < rule.canary.percent else None
    wanted = rule.candidates if canary else list(dict.fromkeys(rule.backends))
    for name in rule.candidates:
        if name not in refused and (why := _against(rule, backends[name], ask.confidentiality)):
            refused[name] = why
    chosen = next((name for name in wanted if name not in refused), None)
    for name in backends:
        if name != chosen:
            refused.setdefault(name, _passed_over(rule, name, chosen))
    # The rule's own first: whoever tells only some of them tells those.
    refused = {name: refused[name] for name in [*rule.candidates, *backends] if name in refused}
    if chosen is None:
        reasons = "; ".join(f"{name}: {refused[name]}" for name in wanted)
        return Unroutable(
            missing=f"rule {rule.id!r} permits none of its backends ({reasons})",
            remedy=f"give rule {rule.id!r} a backend that may take {_described(ask)}",
            rule=rule.id,
            refused=refused,
            table=table.pin(),
        )
    backend, is_canary = backends[chosen], canary is not None and chosen == canary.backend
    return Decision(
        backend=backend,
        model=ask.model or backend.model or "",
        price=backend.price_of(ask.width, ask.height),
        route=Route(
            backend=chosen,
            lane=rule.lane,
            rule=rule.id,
            reason=_reason(rule, ask, backend, is_canary=is_canary),
            refused=refused,
            table=table.pin(),
            canary=is_canary,
            version=backend.version,
        ),
    )


def barred(
    sent: Sent,
    *,
    table: Routes | Unroutable | None,
    today: date,
    runnable: Iterable[str] = RUNNABLE,
    providers: Mapping[str, str] = NOTHING,
) -> str | None:
    """Why it may not be made there by today's table; None: it may.

    What was routed keeps its route whatever a later table prefers, as long as that lets it go there at all. Where the
    table has forgotten its backend, what is made here goes on, for nobody else hears of it; nobody is called.
    """
    if not isinstance(table, Routes):
        return (table or NO_TABLE).missing if sent.kind in CALLING else None
    named = (backend for backend in table.backends if (backend.name, backend.kind) == (sent.backend, sent.kind))
    backend = next(named, None)
    if backend is None:
        return f"{table.label} does not have it" if sent.kind in CALLING else None
    if why := _unfit(backend, sent.confidentiality, today, runnable, providers, NOTHING):
        return why
    if backend.kind in CALLING and backend.call is not None and backend.call.provider != sent.provider:
        return f"it calls {backend.call.provider!r} now, and not {sent.provider!r}"
    return _kept_in(backend, sent.confidentiality, table)


def bucket_of(job: UUID) -> int:
    """Which hundredth of all jobs it belongs to: a job is on the same side of a canary whenever it is asked for."""
    return job.int % 100


def unserved(
    rule: RouteRule,
    *,
    table: Routes,
    today: date,
    runnable: Iterable[str] = RUNNABLE,
    providers: Mapping[str, str] = NOTHING,
) -> dict[str, str]:
    """Why each backend of the rule can take nothing that it is for, of whatever size; empty where one of them can.

    Of the levels that a rule names each must be served, of a rule for any one of them.
    """
    backends = {backend.name: backend for backend in table.backends}
    stuck = []
    for level in rule.confidentiality or LEVELS:
        why = {
            name: _unfit(backends[name], level, today, runnable, providers, NOTHING)
            or _against(rule, backends[name], level)
            for name in rule.candidates
        }
        if all(why.values()):
            stuck.append({name: f"{level.value} work: {said}" for name, said in why.items()})
    if not stuck or (not rule.confidentiality and len(stuck) < len(LEVELS)):
        return {}
    return stuck[0]


def _matches(rule: RouteRule, ask: Ask) -> bool:
    return (
        (not rule.confidentiality or ask.confidentiality in rule.confidentiality)
        and (not rule.priority or ask.priority.value in rule.priority)
        and (rule.bulk is None or rule.bulk == ask.bulk)
    )


def _without_a_lane(rule: RouteRule | None, ask: Ask, table: Routes, refused: dict[str, str]) -> Unroutable:
    """Nothing in the table takes the job, or what does says not where it waits."""
    refused = {backend.name: refused.get(backend.name, "no rule names it for this work") for backend in table.backends}
    if rule is None:
        return Unroutable(
            missing=f"no rule of {table.label} takes {_described(ask)}",
            remedy="add a rule that names these, or ask for what a rule takes",
            refused=refused,
            table=table.pin(),
        )
    return Unroutable(
        missing=f"rule {rule.id!r} of {table.label} names no known lane",
        remedy="write dedicated, standard or bulk",
        rule=rule.id,
        refused=refused,
        table=table.pin(),
    )


def _unfit(
    backend: Backend,
    confidentiality: Confidentiality,
    today: date,
    runnable: Iterable[str],
    providers: Mapping[str, str],
    avoid: Mapping[str, str],
) -> str | None:
    """Why this backend can take no such work under any rule. The law comes first, whatever else is wrong with it."""
    if above := _above(backend, confidentiality):
        return above
    if backend.name in avoid:
        return avoid[backend.name]
    if not backend.enabled:
        return "it is switched off"
    if backend.kind not in runnable:
        return f"no worker runs backends of kind {backend.kind!r}"
    return _not_alive(backend, today) or uncallable(backend, providers)


def _above(backend: Backend, confidentiality: Confidentiality) -> str | None:
    if confidentiality.stays_private and backend.visibility != "private":
        return f"it is not private, and {confidentiality.value} work never leaves private backends"
    if backend.ceiling is Confidentiality.UNKNOWN:
        return "its ceiling is no level that is known here"
    if backend.ceiling is not None and confidentiality.rank > backend.ceiling.rank:
        return f"it takes nothing above {backend.ceiling.value} work"
    return None


def _kept_in(backend: Backend, confidentiality: Confidentiality, table: Routes) -> str | None:
    """What is above public leaves only where a rule says so of that level."""
    if backend.visibility == "private" or confidentiality is Confidentiality.PUBLIC:
        return None
    naming = [rule for rule in table.rules if backend.name in rule.candidates]
    if any(confidentiality in rule.confidentiality and not _against(rule, backend, confidentiality) for rule in naming):
        return None
    return f"it is not private, and no rule of {table.label} lets {confidentiality.value} work go to it"


def _not_alive(backend: Backend, today: date) -> str | None:
    if backend.available_from is not None and today < backend.available_from:
        return f"it is there from {backend.available_from.isoformat()} on"
    if backend.end_of_life is not None and today > backend.end_of_life:
        return f"its life ended on {backend.end_of_life.isoformat()}"
    return None


def uncallable(backend: Backend, providers: Mapping[str, str]) -> str | None:
    """Why this deployment cannot call its provider; None also where it has none."""
    if backend.kind not in CALLING:
        return None
    if backend.call is None:
        return "it names no provider to call"
    if backend.call.provider not in providers:
        return f"no worker knows the provider {backend.call.provider!r}"
    if (speaks := providers[backend.call.provider]) != backend.kind:
        return f"the provider {backend.call.provider!r} speaks {speaks}, and not {backend.kind}"
    return None


def _incapable(backend: Backend, ask: Ask) -> str | None:
    if backend.kind in FROM_WORDS and (beyond := ask.capabilities - {"text-to-image"}):
        return f"backends of kind {backend.kind!r} cannot do {', '.join(sorted(beyond))}"
    if ask.strict and backend.kind in CALLING:
        return "what its provider makes is not the same bytes each time, and the job is to be reproducible: strict"
    if lacking := ask.capabilities - set(backend.capabilities):
        return f"it cannot do {', '.join(sorted(lacking))}"
    if ask.width > backend.max_width or ask.height > backend.max_height:
        return f"{ask.width} × {ask.height} px is more than its {backend.max_width} × {backend.max_height}"
    if backend.call is not None and backend.call.sizes and f"{ask.width}x{ask.height}" not in backend.call.sizes:
        return f"it makes {', '.join(backend.call.sizes)}, and not {ask.width} × {ask.height} px"
    return _wrong_loras(backend, ask) or _wrong_model(backend, ask) or _without_words(backend, ask)


def _wrong_loras(backend: Backend, ask: Ask) -> str | None:
    if ask.loras and backend.kind not in WITH_LORAS:
        return (
            f"backends of kind {backend.kind!r} take no LoRA, and the template asks for {', '.join(sorted(ask.loras))}"
        )
    if lacking := ask.loras - set(backend.loras):
        return f"it does not have the LoRA {', '.join(sorted(lacking))}"
    return None


def _wrong_model(backend: Backend, ask: Ask) -> str | None:
    if backend.kind in WITHOUT_MODEL:
        return None
    if backend.model is None and ask.model is None:
        return "neither it nor the template names a model"
    if backend.model is not None and ask.model is not None and backend.model != ask.model:
        return f"it runs {backend.model}, and the template asks for {ask.model}"
    return None


def _without_words(backend: Backend, ask: Ask) -> str | None:
    """What no table says of a kind, and its provider would refuse."""
    model = ask.model or backend.model or ""
    wanted = Wanted(model=model, width=ask.width, height=ask.height, sources=ask.sources)
    why = unable(backend.kind, wanted)
    return why and f"backends of kind {backend.kind!r} cannot {why}"


def _against(rule: RouteRule, backend: Backend, confidentiality: Confidentiality) -> str | None:
    """Why this rule keeps such work from a backend that could take it under another."""
    if backend.pool == "dedicated" and rule.lane is not Lane.DEDICATED:
        return f"its pool is kept for the dedicated lane, and this is {rule.lane.value} work"
    if (
        # A rule for any confidentiality lets only public work out; anything above must be named to leave.
        backend.visibility != "private"
        and confidentiality is not Confidentiality.PUBLIC
        and confidentiality not in rule.confidentiality
    ):
        return f"it is not private, and rule {rule.id!r} does not name {confidentiality.value} work"
    if rule.regions and backend.region not in rule.regions:
        where = f"it stands in {backend.region}" if backend.region else "it does not say where it stands"
        return f"{where}, and rule {rule.id!r} demands {' or '.join(rule.regions)}"
    return None


def _passed_over(rule: RouteRule, name: str, chosen: str | None) -> str:
    """Why a backend that could have taken the job did not."""
    if name in rule.backends:
        return f"rule {rule.id!r} prefers {chosen}"
    if rule.canary and rule.canary.backend == name:
        return f"rule {rule.id!r} gives it {rule.canary.percent} % of its jobs, and this is none of them"
    return f"rule {rule.id!r} does not name it"


def _described(ask: Ask) -> str:
    return f"{ask.confidentiality.value} work of {ask.priority.value} priority{' in bulk' if ask.bulk else ''}"


def _reason(rule: RouteRule, ask: Ask, backend: Backend, *, is_canary: bool) -> str:
    place = f"{backend.visibility} backend {backend.name}" + (
        " (dedicated pool)" if backend.pool == "dedicated" else ""
    )
    share = f", whose canary it is for {rule.canary.percent} % of its jobs" if is_canary and rule.canary else ""
    return f"{_described(ask)} → {place}, {rule.lane.value} lane, by rule {rule.id!r}{share}"


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
