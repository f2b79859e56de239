"""Composition root of stage 3: the only reader of its settings."""

import asyncio
import functools
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from services.inference import (
    handler,
    hooks,
    http,
    http_replays,
    http_routes,
    previews,
    replays,
    rerouting,
    telling,
    uncertain,
    unclaimed,
)
from services.inference.backends import Backend
from services.inference.backends.diffusion import DiffusionBackend, DiffusionOptions
from services.inference.domain import BILLING, POOLS, PREFIX, kind_of
from services.inference.handler import Front
from services.inference.limits import ClaimLimits, Limit
from services.inference.permits import Permits
from services.inference.presence import Paces, Presence
from services.inference.progress import Progress
from services.inference.queue import AT_ONCE, Claims, Desk, Lookout, queries
from services.inference.replay_desk import ReplayDesk
from services.inference.settings import InferenceSettings
from services.inference.tables import RoutingTables
from services.inference.worker import Maker, record
from shared.current import wire_current
from shared.gauges import Count
from shared.leases import Worker
from shared.library.pinned import Library
from shared.postgres import Connection, noted, transaction
from shared.rounds import Rounds
from shared.service import Service

STAGE = "inference"
KEPT = 5  # one slot of so many is for the dedicated lane alone


async def build(service: Service, *, backends: Mapping[str, Backend] | None = None) -> None:
    """Wires the stage; `backends` by kind take the place of those the settings ask for."""
    settings = service.settings
    assert isinstance(settings, InferenceSettings)
    desk = Desk()
    wakes = hooks.Wakes()
    backends = open_backends(settings, wakes) if backends is None else backends
    null = {"null"} if settings.null_backend else set()
    tables = RoutingTables(
        kinds={*backends, *null}, providers={name: given.kind for name, given in settings.providers.items()}
    )
    progress = Progress(service.producer, prefix=settings.topic_prefix, previews=previews.Previews(service.database))

    async def keep_id(attempt: UUID, provider_request_id: str) -> None:
        async with noted(transaction(service.database)) as connection:
            await queries.keep_provider_id(connection, attempt=attempt, provider_id=provider_request_id)

    paces = Paces()
    maker = Maker(backends=backends, blobs=service.blobs, desk=desk, progress=progress, keep_id=keep_id, paces=paces)
    works = "work" in service.roles
    limits = account_limits(settings)
    limited, permits = functools.partial(ClaimLimits, tables, accounts=limits), Permits(tables)
    workers = (
        {kind: open_worker(service, kind, maker, desk, limited(), permits) for kind in sorted(tables.kinds)}
        if works
        else {}
    )
    by_work_kind = {work_kind: worker for worker in workers.values() for work_kind in worker.kinds}
    front = Front(tables=tables, desk=desk, workers=by_work_kind, lease_seconds=settings.lease_seconds)
    handler.wire(service.bus, front=front)
    wire_current(service.bus, stage=STAGE)
    http.wire(service.app, pool=service.database, gate=service.gate, tables=tables, accounts=limits)
    previews.wire(service.app, pool=service.database, gate=service.gate)
    http_routes.wire(
        service.app,
        pool=service.database,
        gate=service.gate,
        tables=tables,
        library=Library(service.blobs),
        keyless=frozenset(name for name, given in settings.providers.items() if not given.key.get_secret_value()),
    )
    replayer = replays.Replayer(backends=backends, blobs=service.blobs, pool=service.database)
    replaying = (
        [open_replays(service, kind, replayer, limited(), permits) for kind in sorted(backends)] if works else []
    )
    desk_of_replays = ReplayDesk(
        pool=service.database,
        blobs=service.blobs,
        tables=tables,
        workers={kind: worker for worker in replaying for kind in worker.kinds},
        accounts=limits,
    )
    http_replays.wire(service.app, desk_of_replays, gate=service.gate)
    service.count(uncertain.count_uncertain)
    service.count(idle_told(backends))
    uncertain.wire(service.app, outbox=service.facts, pool=service.database, gate=service.gate)
    keys = {name: given.webhook_key for name, given in settings.providers.items() if given.webhook_key}
    hooks.wire(service.app, pool=service.database, keys=keys)
    looking = unclaimed.Unclaimed(service.facts, tables, patience=settings.unclaimed_seconds)
    service.add(Rounds("unclaimed", looking.look, every=unclaimed.LOOK_EVERY))
    if works:
        service.add(Closing(list(backends.values())))
        service.add(progress)
        service.add(Lookout(desk, service.database))
        moving = rerouting.Rerouting(service.database, tables, kinds=list(by_work_kind))
        service.add(Rounds("rerouting", moving.look, every=rerouting.LOOK_EVERY))
        service.add(Presence(service.database, [*workers.values(), *replaying], paces))
        everybodys = [each for kind in sorted(tables.kinds) for each in work_kinds(kind, POOLS, settings)]
        told = telling.Telling(service.database, progress, kinds=everybodys, tables=tables, accounts=limits)
        service.add(Rounds("telling", told.look, every=telling.LOOK_EVERY))
        if keys:
            direct = settings.database_direct_url or settings.database_url
            service.add(hooks.Listening(wakes, direct.get_secret_value()))
        for worker in [*workers.values(), *replaying]:
            service.add_worker(worker)


def idle_told(backends: Mapping[str, Backend]) -> Count:
    """For the metrics: what a device waited is known only when somebody asks."""

    async def tell(_: Connection) -> None:
        for backend in backends.values():
            if isinstance(backend, DiffusionBackend):
                backend.tell_idle()

    return tell


def open_backends(settings: InferenceSettings, wakes: hooks.Wakes) -> dict[str, Backend]:
    """The kinds this deployment runs. Nothing is started yet: a backend starts its processes with its first image."""
    backends: dict[str, Backend] = {}
    if settings.proof_children:
        from services.inference.backends.proof.backend import ProofBackend  # noqa: PLC0415  # only where proofs are drawn

        backends["proof"] = ProofBackend(children=settings.proof_children)
    if settings.diffusion_models is not None:
        options = DiffusionOptions(
            models=settings.diffusion_models.absolute(),
            device=settings.diffusion_device,
            dtype=settings.diffusion_dtype,
            threads=settings.diffusion_threads,
            images=settings.diffusion_images,
            warm=settings.diffusion_warm_mb * 2**20,
            memory=settings.diffusion_memory_mb and settings.diffusion_memory_mb * 2**20,
            silence=settings.diffusion_silence_seconds,
            graphs=settings.diffusion_graphs,
        )
        backends["diffusion"] = DiffusionBackend(options)
    for kind in sorted({provider.kind for provider in settings.providers.values()}):
        backends[kind] = open_providers(kind, settings, wakes)
    return backends


def open_providers(kind: str, settings: InferenceSettings, wakes: hooks.Wakes) -> Backend:
    """The backend that calls the providers of one kind, and has no other's key. `wakes`: for those that bring word."""
    # Only where it calls: each brings what only its provider needs.
    from services.inference.backends.exchange import Provider  # noqa: PLC0415

    providers = {
        name: Provider(
            url=given.url,
            key=given.key.get_secret_value(),
            key_id=given.key_id,
            session=given.session.get_secret_value(),
            region=given.region,
            proxy=given.proxy,
            webhook=given.webhook_url and hooks.hook_of(given.webhook_url, name),
        )
        for name, given in settings.providers.items()
        if given.kind == kind
    }
    if kind == "stability":
        from services.inference.backends.stability import StabilityBackend  # noqa: PLC0415

        return StabilityBackend(providers)
    if kind == "replicate":
        from services.inference.backends.replicate import ReplicateBackend  # noqa: PLC0415

        return ReplicateBackend(providers, wait=wakes.wait)
    if kind == "bedrock":
        from services.inference.backends.bedrock import BedrockBackend  # noqa: PLC0415

        return BedrockBackend(providers)
    from services.inference.backends.openai import OpenAIBackend  # noqa: PLC0415

    return OpenAIBackend(providers)


def work_kinds(kind: str, pools: Iterable[str], settings: InferenceSettings) -> list[str]:
    """What workers of these pools claim; a provider's, by the account."""
    accounts = list(settings.providers) if kind in BILLING else [None]
    return [kind_of(kind, pool, account=account) for pool in pools for account in accounts]


def open_worker(service: Service, kind: str, maker: Maker, desk: Desk, limits: ClaimLimits, permits: Permits) -> Worker:
    settings = service.settings
    assert isinstance(settings, InferenceSettings)
    kinds = work_kinds(kind, settings.pools.split(","), settings)
    at_once = kind in AT_ONCE
    claims = Claims(desk, kinds=kinds, at_once=at_once, limits=limits, recheck=permits.jobs)
    worker = Worker(
        stage=STAGE,
        outbox=service.facts,
        pool=service.database,
        kinds=kinds,
        run=None if at_once else maker.run,
        run_many=maker.make_nothing if at_once else None,
        record=record,
        fenced=uncertain.record_late,
        exhausted=maker.exhausted,
        claim=claims.claim,
        on_wake=claims.look_round,
        concurrency=2 * settings.max_records if at_once else concurrency(kind, settings),
        # An image is in the making for seconds: where all slots had bulk work, urgent work would wait for one of them.
        kept=settings.diffusion_images // KEPT if kind == "diffusion" else 0,
        lease_seconds=settings.lease_seconds,
    )
    claims.worker = worker
    return worker


def account_limits(settings: InferenceSettings) -> dict[str, Limit]:
    return {
        name: Limit(at_once=of.calls, rate=of.rate) for name, of in settings.providers.items() if of.calls or of.rate
    }


def open_replays(
    service: Service, kind: str, replayer: replays.Replayer, limits: ClaimLimits, permits: Permits
) -> Worker:
    settings = service.settings
    assert isinstance(settings, InferenceSettings)
    kinds = [PREFIX + each for each in work_kinds(kind, settings.pools.split(","), settings)]
    claims = replays.Claims(kinds, limits=limits, permitted=permits.replays)
    worker = Worker(
        stage=STAGE,
        outbox=service.facts,
        pool=service.database,
        kinds=claims.kinds,
        run=replayer.run,
        record=replays.record,
        fenced=uncertain.record_late,
        exhausted=replays.exhausted,
        claim=claims.claim,
        on_wake=claims.line.look_round,
        concurrency=replays.AT_ONCE,
        lease_seconds=settings.lease_seconds,
    )
    claims.worker = worker
    return worker


def concurrency(kind: str, settings: InferenceSettings) -> int:
    """What is claimed of a billing kind is called at once: whoever died before its call would leave it uncertain."""
    if kind in BILLING:
        return settings.provider_calls
    if kind == "diffusion":
        return settings.diffusion_images
    # As many as it makes at once. One claimed before its turn would stand before whoever asks meanwhile.
    return settings.proof_children or 1


class Closing:
    """Ends the backends' processes when the workers have stopped."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = backends

    async def start(self) -> None:
        """They start with their first image."""

    async def stop(self) -> None:
        await asyncio.gather(*(backend.close() for backend in self._backends))
