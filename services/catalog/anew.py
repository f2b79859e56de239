"""Which approved assets get a new version by other recipes, and what is asked for then. No I/O.

The ask for one version by one set of recipes is one event, whoever asks how often; one that failed may be asked for
again, where another try may help.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.catalog.ledger.reruns import Ask, State
from shared import ids
from shared.events import MAX_EVENT_BYTES, DerivativesRequested, FailureReason, ImageGenerated, Pin

PINNED = frozenset({FailureReason.INVALID_REQUEST, FailureReason.CORRUPT_OUTPUT})  # as often as it is tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An approved asset: the version that stands, what it was made of, and what was asked about it before."""

    asset_id: UUID
    version: UUID
    image: ImageGenerated
    """With the recipes that made the version."""
    trace: str | None = None
    asked: Sequence[Ask] = ()
    """The asks for a version in its place, oldest first."""
    waits: bool = False
    gone: str | None = None

    def recipes(self, wanted: Mapping[str, Pin]) -> dict[str, Pin]:
        """All the recipes of the new version: the wanted ones in the place of those it has."""
        return {channel: wanted.get(channel, pin) for channel, pin in self.image.recipes.items()}

    def before(self, wanted: Mapping[str, Pin]) -> list[Ask]:
        """The asks for just these."""
        digests = {channel: pin.digest for channel, pin in self.recipes(wanted).items()}
        return [ask for ask in self.asked if {channel: pin.digest for channel, pin in ask.recipes.items()} == digests]

    def under_way(self) -> list[Ask]:
        """The asks for any recipes, of which nothing came yet."""
        return [ask for ask in self.asked if ask.state is State.RUNNING]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAgain:
    """Why an asset gets no new version, and what helps."""

    asset_id: UUID
    why: str
    remedy: str


def not_again(case: Case, wanted: Mapping[str, Pin], *, branded: Collection[str] = ()) -> NotAgain | None:
    """Why these recipes are not run over it; None where they are.

    `branded`: the channels whose recipes take something from the brand.
    """
    for why, remedy in (*_obstacles(case, wanted), *_without_brand(case, wanted, branded)):
        return NotAgain(asset_id=case.asset_id, why=why, remedy=remedy)
    return None


def _obstacles(case: Case, wanted: Mapping[str, Pin]) -> Iterator[tuple[str, str]]:
    if case.gone is not None:
        yield case.gone, "nothing to do: it is not to be shown any more"
    if not wanted.keys() & case.image.recipes.keys():
        yield f"it was not made for {', '.join(wanted)}", "ask for it with that channel in a request of its own"
    if case.recipes(wanted) == case.image.recipes:
        made_by = ", ".join(pin.label for channel, pin in case.image.recipes.items() if channel in wanted)
        yield f"the version that stands is made by {made_by}", "nothing to do"
    if case.waits:
        yield "a version made anew waits for a decision", "decide on that one first"
    under_way, before = case.under_way(), case.before(wanted)
    if under_way:
        these = any(ask in before for ask in under_way)
        # One at a time: of two made from the same version, the one approved later would undo the other.
        yield (
            "these recipes are being run over it" if these else "another version of it is being made",
            f"wait; calotype trace {case.asset_id} says how far it is",
        )
    for ask in before:
        if ask.made:
            yield "these recipes were run over it, and that version was not approved", "publish another version of them"
        elif ask.failure and ask.failure.reason in PINNED:
            remedy = ask.failure.remedy or "publish another version of them"
            yield f"these recipes failed on it: {ask.failure.detail}", remedy


def _without_brand(case: Case, wanted: Mapping[str, Pin], branded: Collection[str]) -> Iterator[tuple[str, str]]:
    labels = [pin.label for channel, pin in wanted.items() if channel in branded and channel in case.image.recipes]
    if labels and case.image.brand is None:
        why = "it was made before brands travelled with its images, and the ledger does not reach back to its request"
        yield f"{why}: {', '.join(labels)} would lack what is the brand's", "ask for it anew"


def requested(
    case: Case, wanted: Mapping[str, Pin], *, by: str, at: datetime, trace: str | None
) -> DerivativesRequested:
    """The ask as a fact. After one that failed it is another fact, and so other work."""
    image = case.image.model_copy(update={"recipes": case.recipes(wanted)})
    cause = ids.rerun_id(case.version, {channel: pin.digest for channel, pin in image.recipes.items()})
    tries = len(case.before(wanted))
    return DerivativesRequested.of(
        cause_id=f"{cause}/{tries + 1}" if tries else cause,
        occurred_at=at,
        traceparent=trace,
        **{name: getattr(image, name) for name in ("workspace", "client_reference", "request_id", "job_id", "run")},
        asset_id=case.asset_id,
        supersedes=case.version,
        by=by,
        image=image,
        confidentiality=image.confidentiality,
    )


def sendable(
    facts: Sequence[DerivativesRequested],
) -> tuple[list[DerivativesRequested], list[NotAgain]]:
    """Those that an event can carry, and why the others are not asked for."""
    outsized = [fact for fact in facts if len(fact.body()) > MAX_EVENT_BYTES]
    why = f"what it was made of is more than the {MAX_EVENT_BYTES // 1024} KiB of an event"
    refused = [NotAgain(asset_id=fact.asset_id, why=why, remedy="ask for it anew") for fact in outsized]
    return [fact for fact in facts if fact not in outsized], refused
