"""The rules of making one image: what a job's work is, how it may end, and what each end says."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from services.inference.backends import Generated, Generation, Lora, Source, keep_nothing
from services.inference.backends.vocabulary import Given
from services.inference.routing import Ask, Decision, Sent, Unroutable
from shared import ids
from shared.events import (
    Attempt,
    AttemptState,
    Event,
    FailureReason,
    File,
    ImageGenerated,
    JobCancelled,
    JobFailed,
    JobRetried,
    Lane,
    Pin,
    Priority,
    PromptAssembled,
    Reproducible,
    Route,
    SourceRole,
    SourceType,
    Stage,
)
from shared.events.envelope import Body
from shared.library.documents import Backend, Call

MANIFEST_FORMAT = "calotype.manifest/1"
# Within a lane; lanes themselves share the workers out (flows.py).
PRIORITY = {Priority.LOW: -1, Priority.HIGH: 1}
# Of ten workers that every lane wants, what each lane is guaranteed. Unused share goes to the others.
SHARES: Mapping[str, int] = {"dedicated": 6, "standard": 3, "bulk": 1}
POOLS = ("dedicated", "standard")
# Of work that makes an image again, of each kind.
PREFIX = "replay."
# Kinds that call somebody who sends a bill. What one of them may have made is never made again by itself.
BILLING = frozenset({"openai", "stability", "replicate", "bedrock"})
# Of those, whose provider can be asked again for what it was told to make: a lost worker's call is taken up.
RESUMABLE = frozenset({"replicate"})
# What a backend must be able to do with a source; a role that this release does not know is one that nobody can take.
NEEDED = {SourceRole.REFERENCE: "image-to-image", SourceRole.MASK: "inpainting"}
# Kinds that compute a picture from a scene; every other kind is a trained model.
ALGORITHMIC = frozenset({"proof", "null"})
# A table may have hundreds of backends; a fact has 256 KiB for everything. `explain-route` says it all.
MOST_REFUSED = 50
LONGEST_REASON = 300
LONGEST_DETAIL = 2000
# What an attempt ends with whose process died or hung, or had no memory left: others in it may have been the cause.
SUSPECT = frozenset({FailureReason.BACKEND_UNAVAILABLE, FailureReason.MODEL_TIMEOUT, FailureReason.OUT_OF_MEMORY})
REMEDIES = {
    FailureReason.INVALID_REQUEST: "correct the template's parameters, publish a new version, and ask again",
    FailureReason.MISSING_SOURCE: "restore what is missing, then run the job again",
    FailureReason.MODEL_TIMEOUT: "run the job again, or with fewer steps",
    FailureReason.CONTENT_FILTERED: "change the wording and ask again",
    FailureReason.BACKEND_UNAVAILABLE: "an operator looks at the backend, then runs the job again",
    FailureReason.OUT_OF_MEMORY: "run it smaller, or on a machine with more memory",
    FailureReason.CORRUPT_OUTPUT: "run the job again with another seed",
    FailureReason.UPLOAD_FAILED: "an operator looks at the object store, then runs the job again",
    FailureReason.EXPIRED: "ask again with a later deadline",
    FailureReason.INTERNAL: "an operator reads the log, then runs the job again",
}


class Cost(NamedTuple):
    """What an attempt may cost; `amount` None: nobody knows."""

    currency: str
    amount: Decimal | None


class Job(Body):
    """One run of a job with the route that was decided when it arrived: the payload of its work row."""

    event: PromptAssembled
    asset_id: UUID
    cause_id: UUID
    route: Route | None = None
    kind: str = ""
    model: str = ""
    price: Decimal | None = None
    currency: str = "USD"
    call: Call | None = None

    @property
    def backend(self) -> str:
        return self.route.backend if self.route else ""

    @property
    def sent(self) -> Sent:
        """Where its route sends it."""
        return Sent(
            backend=self.backend,
            kind=self.kind,
            provider=self.call.provider if self.call else None,
            confidentiality=self.event.confidentiality,
        )

    @property
    def sort(self) -> str:
        """Pictures of one sort take about as long: of one model, and no more than twice the pixels and steps."""
        asked = self.event.parameters
        return f"{self.model}/{(asked.width * asked.height * asked.steps).bit_length()}"

    @property
    def price_list(self) -> str | None:
        """The routing table whose price this is."""
        return self.route.table.label if self.route and self.route.table and self.price is not None else None

    @property
    def bills(self) -> bool:
        """Whether an attempt may cost money. A price of 0 is an operator's word that it does not; none is no word."""
        return self.kind in BILLING and self.price != 0

    @property
    def cost(self) -> Cost | None:
        """What an attempt may cost, None where it costs nothing: what is made here and has no price."""
        return Cost(self.currency, self.price) if self.price or self.bills else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The image is stored, and so is the manifest it can be made again from."""

    original: File
    manifest: File
    mask: File | None = None
    focal: tuple[float, float] | None = None
    live_area: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """`rule`, `refused`, `table`: of a job that no backend may take."""

    reason: FailureReason
    detail: str
    remedy: str | None = None
    rule: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    table: Pin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    by: str


UNCERTAIN_REMEDY = "an operator finds out what it cost (calotype uncertain list), settles it, then runs the job again"
DOUBTFUL = Failed(
    reason=FailureReason.BACKEND_UNAVAILABLE,
    detail="its worker ended while the provider was called: the image may have been made and billed",
    remedy=UNCERTAIN_REMEDY,
)
LATE = Failed(reason=FailureReason.EXPIRED, detail="its deadline passed while it waited")

Ending = Made | Failed | Cancelled


def outcome_of(ending: Ending) -> str:
    """As the row of work names an end without an attempt."""
    return ending.reason if isinstance(ending, Failed) else "cancelled"


def ask_of(event: PromptAssembled) -> Ask:
    return Ask(
        confidentiality=event.confidentiality,
        priority=event.priority,
        bulk=event.brief.batch_id is not None,
        width=event.parameters.width,
        height=event.parameters.height,
        model=event.parameters.model,
        capabilities=capabilities_of(use.role for use in event.sources),
        loras=event.parameters.weighted,
        sources=tuple(Given(role=use.role.value, size=(use.width, use.height)) for use in event.sources),
        strict=_is_strict(event),
    )


def _is_strict(event: PromptAssembled) -> bool:
    """What a newer release may ask for beyond this is at least as much."""
    return event.reproducible is not Reproducible.SHAPE


def capabilities_of(sources: Iterable[SourceRole]) -> frozenset[str]:
    """What a backend must be able to do to make what was asked: one that cannot is refused, nothing is left out."""
    return frozenset(NEEDED.get(role, role.value) for role in sources) or frozenset({"text-to-image"})


def job_of(
    event: PromptAssembled, decision: Decision | Unroutable, *, cause_id: UUID, asset_id: UUID | None = None
) -> Job:
    """`cause_id` is the fact that began this run: the prompt, or an operator's fresh start."""
    asset_id = asset_id or ids.asset_id(event.job_id, event.run)
    if isinstance(decision, Unroutable):
        return Job(event=event, asset_id=asset_id, cause_id=cause_id)
    backend = decision.backend
    return Job(
        event=event,
        asset_id=asset_id,
        cause_id=cause_id,
        route=decision.route.model_copy(update={"refused": in_short(decision.route.refused)}),
        kind=backend.kind,
        model=decision.model,
        price=decision.price,
        currency=backend.currency,
        call=backend.call,
    )


def unroutable(decision: Unroutable) -> Failed:
    return Failed(
        reason=FailureReason.UNROUTABLE,
        detail=_cut(decision.missing, LONGEST_DETAIL),
        remedy=decision.remedy,
        rule=decision.rule,
        refused=in_short(decision.refused),
        table=decision.table,
    )


def in_short(refused: Mapping[str, str]) -> dict[str, str]:
    """As much of it as a fact has room for: the first backends, which are those of the rule, and how many others."""
    told = {name: _cut(why, LONGEST_REASON) for name, why in list(refused.items())[:MOST_REFUSED]}
    if others := len(refused) - len(told):
        told[f"{others} others"] = "calotype explain-route says why not each of them"
    return told


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def work_kind(backend: Backend) -> str:
    """What a worker claims: a kind of backend in one pool, so that a dedicated pool can have workers of its own.

    Of a provider's, the account it is called with as well.
    """
    return kind_of(backend.kind, backend.pool, account=backend.call.provider if backend.call else None)


def kind_of(kind: str, pool: str, *, account: str | None = None) -> str:
    return "/".join([kind, pool, *([account] if account else [])])


def account_of(work_kind: str) -> str | None:
    """Whose account work of this kind calls with; None where nobody is called."""
    parts = work_kind.split("/", 2)
    return parts[2] if len(parts) == 3 else None


def together(kinds: Collection[str]) -> list[str]:
    """These kinds of work and all that calls the same accounts: of every pool, jobs' and replays'."""
    calling = [kind.removeprefix(PREFIX).split("/", 2) for kind in kinds if account_of(kind)]
    others = (
        prefix + kind_of(kind, pool, account=account)
        for kind, _, account in calling
        for pool in POOLS
        for prefix in ("", PREFIX)
    )
    return sorted({*kinds, *others})


def generation_of(
    job: Job,
    *,
    attempt_id: UUID,
    keep_id: Callable[[str], Awaitable[None]] = keep_nothing,
    sources: tuple[Source, ...] = (),
    earlier: Sequence[Attempt] = (),
) -> Generation:
    """An image around which a process died or lacked memory may have been the cause: from then on it is made alone."""
    event, asked = job.event, job.event.parameters
    return Generation(
        job_id=event.job_id,
        run=event.run,
        attempt_id=attempt_id,
        prompt=event.prompt,
        negative_prompt=event.negative_prompt,
        width=asked.width,
        height=asked.height,
        steps=asked.steps,
        guidance=asked.guidance,
        scheduler=asked.scheduler,
        seed=event.seed,
        model=job.model,
        scene=event.scene,
        label=event.template.label,
        call=job.call,
        keep_id=keep_id,
        sources=sources,
        strength=event.strength,
        loras=tuple(Lora(name=each.name, weight=each.weight) for each in asked.loras),
        lane=job.route.lane if job.route else Lane.STANDARD,
        shapes=(1,) if _is_strict(event) else None,
        alone=any(attempt.reason in SUSPECT for attempt in earlier),
    )


def manifest_of(job: Job, generated: Generated, *, sha256: str) -> bytes:
    """Canonical JSON of all that made the image. The same image has the same manifest: no attempt, no time in it."""
    event, asked = job.event, job.event.parameters
    manifest: dict[str, Any] = {
        "format": MANIFEST_FORMAT,
        "job_id": event.job_id,
        "run": event.run,
        "asset_id": job.asset_id,
        "template": event.template.model_dump(),
        "prompt": event.prompt,
        "negative_prompt": event.negative_prompt,
        "seed": event.seed,
        "parameters": asked.model_dump() | {"model": job.model},
        "scene": event.scene,
        "references": event.references,
        "sources": [use.model_dump(exclude={"key"}) for use in event.sources],
        "strength": event.strength,
        "reproducible": event.reproducible,
        "confidentiality": event.confidentiality,
        "route": {
            "backend": job.backend,
            "kind": job.kind,
            "version": job.route.version if job.route else None,
            "call": job.call and job.call.model_dump(mode="json"),
        },
        "made_by": generated.manifest,
        "output": {
            "sha256": sha256,
            "bytes": len(generated.image),
            "media_type": generated.media_type,
            "width": generated.width,
            "height": generated.height,
        },
    }
    return orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)


def succeeded(job: Job, generated: Generated, *, attempt_id: UUID, number: int) -> Attempt:
    """The backend's own cost, else the table's list price, as often as it was charged; else the cost is not known."""
    known = generated.cost is not None
    listed = None if job.price is None else job.price * generated.charges
    return Attempt(
        attempt_id=attempt_id,
        number=number,
        backend=job.backend,
        state=AttemptState.SUCCEEDED,
        cost=generated.cost if known else listed,
        currency=generated.currency if known else job.currency,
        price_list=None if known else job.price_list,
        latency_seconds=generated.latency_seconds,
        device_seconds=generated.device_seconds,
        provider_request_id=generated.provider_request_id,
    )


def ended(
    job: Job, ending: Ending, *, attempts: Sequence[Attempt], at: datetime, traceparent: str | None = None
) -> Event:
    """The fact that ends a job's run in this stage: the same for the same run, whoever finds it out."""
    event = job.event
    common: dict[str, Any] = {
        "cause_id": job.cause_id,
        "occurred_at": at,
        "workspace": event.workspace,
        "client_reference": event.client_reference,
        "traceparent": traceparent,
        "request_id": event.request_id,
        "job_id": event.job_id,
        "run": event.run,
        "attempts": list(attempts),
        "confidentiality": event.confidentiality,
    }
    if isinstance(ending, Made):
        return _image_generated(job, ending, common)
    if isinstance(ending, Cancelled):
        return JobCancelled.of(stage=Stage.INFERENCE, by=ending.by, **common)
    return JobFailed.of(
        stage=Stage.INFERENCE,
        reason=ending.reason,
        detail=ending.detail,
        remedy=ending.remedy or REMEDIES.get(ending.reason),
        rule=ending.rule,
        refused=dict(ending.refused),
        table=ending.table,
        **common,
    )


def forgotten(retry: JobRetried, failed: Failed, *, at: datetime) -> JobFailed:
    """The end of a fresh start of which this stage does not know what to make."""
    return JobFailed.of(
        cause_id=retry.event_id,
        occurred_at=at,
        workspace=retry.workspace,
        client_reference=retry.client_reference,
        traceparent=retry.traceparent,
        request_id=retry.request_id,
        job_id=retry.job_id,
        run=retry.run,
        stage=Stage.INFERENCE,
        reason=failed.reason,
        detail=failed.detail,
        remedy=failed.remedy,
    )


def _image_generated(job: Job, made: Made, common: dict[str, Any]) -> ImageGenerated:
    event = job.event
    assert job.route is not None, "only routed work is worked on"
    return ImageGenerated.of(
        asset_id=job.asset_id,
        brief=event.brief,
        original=made.original,
        manifest=made.manifest,
        mask=made.mask,
        route=job.route,
        model=job.model or job.kind,
        seed=event.seed,
        focal=made.focal,
        live_area=made.live_area,
        source_type=_source_type(job),
        template=event.template,
        brand=event.brand,
        rubric=event.rubric,
        recipes=event.recipes,
        alt_text=event.alt_text,
        caption=event.caption,
        deadline=event.deadline,
        **common,
    )


def _source_type(job: Job) -> SourceType:
    if job.kind in ALGORITHMIC:
        return SourceType.ALGORITHMIC
    return SourceType.COMPOSITE if job.event.sources else SourceType.TRAINED
