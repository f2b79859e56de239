"""The rules of making an image again: what its manifest asks for, and whom to ask."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, ValidationError

from services.inference.backends import Generation, Lora, Source, keep_nothing
from services.inference.domain import BILLING, PREFIX, Cost, kind_of
from services.inference.routing import Sent
from shared import ids
from shared.errors import Rejected, unreadable
from shared.events import Confidentiality, Lane, Parameters, Pin, SourceRole, SourceUse
from shared.events.envelope import Body
from shared.library.documents import Backend, Call


class SourceNamed(Body):
    """A picture that the image started from, as a manifest names it."""

    role: SourceRole
    source_id: UUID
    sha256: str
    media_type: str
    width: int
    height: int


class MadeAt(Body):
    backend: str
    kind: str
    version: str | None = None
    call: Call | None = None


class Output(Body):
    sha256: str
    bytes: int
    media_type: str
    width: int
    height: int


class Manifest(Body):
    """What an image can be made again from; of an older release's, what it did not record is absent.

    One that does not say how confidential it is is taken for confidential.
    """

    format: Literal["calotype.manifest/1"]
    job_id: UUID
    run: int
    asset_id: UUID
    template: Pin
    prompt: str
    negative_prompt: str = ""
    seed: int
    parameters: Parameters
    scene: dict[str, Any] = Field(default_factory=dict)
    sources: list[SourceNamed] = Field(default_factory=list)
    strength: float | None = None
    confidentiality: Confidentiality = Confidentiality.CONFIDENTIAL
    route: MadeAt
    made_by: dict[str, Any]
    output: Output

    @property
    def is_seeded(self) -> bool:
        """Whether the same seed gives the same image: a provider says so of itself, the rest is ours."""
        return self.route.kind not in BILLING or self.made_by.get("seed_is_reproducible") is True

    @property
    def shapes(self) -> tuple[int, ...] | None:
        """The batch shapes its steps went through; of an image made before they were recorded, which was alone, 1."""
        if self.route.kind != "diffusion":
            return None
        return tuple(self.made_by.get("batch_shapes", ())) or (1,)

    @property
    def places(self) -> tuple[int, ...] | None:
        """Its rows in those batches, where that is known."""
        return (tuple(self.made_by.get("batch_places", ())) or None) if self.shapes else None

    @property
    def uses(self) -> list[SourceUse]:
        return [SourceUse(key="", **named.model_dump()) for named in self.sources]


class Order(Body):
    """A replay as its worker gets it: the payload of its work row."""

    replay_id: UUID
    asset_id: UUID
    manifest_sha256: str
    kind: str
    backend: str = ""
    confidentiality: Confidentiality = Confidentiality.CONFIDENTIAL
    price: Decimal | None = None
    currency: str = "USD"
    price_list: str | None = None
    call: Call | None = None

    @property
    def bills(self) -> bool:
        """As of a job: a price of 0 is an operator's word that it costs nothing; none is no word."""
        return self.kind in BILLING and self.price != 0

    @property
    def sent(self) -> Sent:
        """Where it goes, as of a job."""
        provider = self.call.provider if self.call else None
        return Sent(backend=self.backend, kind=self.kind, provider=provider, confidentiality=self.confidentiality)

    @property
    def cost(self) -> Cost | None:
        """What it may cost, as of a job."""
        return Cost(self.currency, self.price) if self.price or self.bills else None


def read(data: bytes) -> Manifest:
    """Raises Rejected for what is no manifest that this release can read."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        what = f"the manifest cannot be read: {unreadable(error)}"
        raise Rejected("unreadable_manifest", what, "manifest_sha256", "use the release that wrote it") from error


def order_of(
    manifest: Manifest, backend: Backend | None, *, table: str, asset: UUID, sha256: str, number: int
) -> Order:
    """`backend`: as `table` has it today, which says what an image costs; whom to call the manifest says."""
    price = backend.price_of(manifest.parameters.width, manifest.parameters.height) if backend else None
    return Order(
        replay_id=ids.derive("replay", asset, sha256, number),
        asset_id=asset,
        manifest_sha256=sha256,
        kind=manifest.route.kind,
        backend=manifest.route.backend,
        confidentiality=manifest.confidentiality,
        price=price,
        currency=backend.currency if backend else "USD",
        price_list=table if price is not None else None,
        call=manifest.route.call or (backend.call if backend else None),
    )


def work_kind(order: Order, backend: Backend | None) -> str:
    """Its own kind of work, beside the jobs' of the same backend."""
    account = order.call.provider if order.call else None
    return PREFIX + kind_of(order.kind, backend.pool if backend else "standard", account=account)


def generation_of(
    manifest: Manifest,
    order: Order,
    *,
    sources: tuple[Source, ...],
    alone: bool,
    keep_id: Callable[[str], Awaitable[None]] = keep_nothing,
) -> Generation:
    """The same again, through the same batch shapes. Its ids are the replay's: nothing of it is the job's."""
    asked = manifest.parameters
    return Generation(
        job_id=order.replay_id,
        run=manifest.run,
        attempt_id=order.replay_id,
        prompt=manifest.prompt,
        negative_prompt=manifest.negative_prompt,
        width=asked.width,
        height=asked.height,
        steps=asked.steps,
        guidance=asked.guidance,
        scheduler=asked.scheduler,
        seed=manifest.seed,
        model=asked.model or "",
        scene=manifest.scene,
        label=manifest.template.label,
        call=order.call,
        keep_id=keep_id,
        sources=sources,
        strength=manifest.strength,
        lane=Lane.BULK,
        loras=tuple(Lora(name=each.name, weight=each.weight) for each in asked.loras),
        shapes=manifest.shapes,
        places=manifest.places,
        alone=alone,
    )
