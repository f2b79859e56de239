"""From rows and facts to the words and values of the pages; no I/O."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.catalog.domain import COMPLETED, RANKED
from services.catalog.ledger.facts import id_of
from services.catalog.ledger.words import size
from services.catalog.review.machine import is_check, named
from services.catalog.web.view import (
    Check,
    Decision,
    FileLine,
    MadeBy,
    Mark,
    Money,
    Picture,
    PublicationLine,
)
from shared.events import Brief, File, ImageGenerated, ImageProcessed, JobStatus, Lane, Verdict

MARKS = {status: Mark(status.value) for status in RANKED}
SHORT = 36  # characters that fit beside a check's name
DECIDED = {"approve": Mark.APPROVED, "reject": Mark.REJECTED}


def spoken(name: str | None) -> str:
    """`winter-home` as a person reads it."""
    text = (name or "").replace("-", " ").replace("_", " ")
    return text[:1].upper() + text[1:]


def title(brief: Brief) -> str:
    """What a picture is called: product, kind."""
    what = brief.product or ", ".join(brief.skus)
    kind = spoken(brief.asset_type).lower()
    return f"{what}, {kind}" if what else spoken(brief.asset_type)


def row_title(row: Mapping[str, Any]) -> str:
    """The same of a row of `jobs`, with its variant; a job whose request was not heard of yet has no words."""
    if row["asset_type"] is None:
        return "a job whose request is on its way"
    what = row["product"] or ", ".join(row["skus"])
    kind = spoken(row["asset_type"]).lower()
    of = f" · {row['variant']} of {row['variants']}" if row["variants"] > 1 else ""
    return (f"{what}, {kind}" if what else spoken(row["asset_type"])) + of


def mark_of(rank: int, *, waits: bool = False) -> Mark:
    """A pending job that waits for something named is shown as waiting."""
    status = RANKED[rank]
    return Mark.WAITING if waits and status is JobStatus.PENDING else MARKS[status]


def mark_of_frame(row: Mapping[str, Any]) -> Mark:
    """A frame shows the decision at once, also while it can still be taken back."""
    if row["decision"] is not None and (row["rank"] == COMPLETED or row["decision_state"] == "open"):
        return DECIDED[row["decision"]]
    return mark_of(row["rank"])


def address(asset: UUID, file: File) -> str:
    return f"/v1/files/{id_of(asset, file)}"


def picture_of(asset: ImageProcessed) -> Picture:
    """The review proxies; a picture smaller than a proxy has fewer of them, then the next larger stands in."""
    proxies = {file.rendition: file for file in asset.proxies}
    steps = [proxies.get(f"proxy-{side}") for side in (320, 1024, 2048)]
    thumb = steps[0] or steps[1] or steps[2] or asset.original
    middle = steps[1] or steps[2] or asset.original
    large = steps[2] or asset.original
    return Picture(
        url=address(asset.asset_id, middle),
        thumb=address(asset.asset_id, thumb),
        large=address(asset.asset_id, large),
        width=asset.original.width or 1,
        height=asset.original.height or 1,
        alt=asset.alt_text or title(asset.brief),
        focal=asset.focal or (0.5, 0.5),
    )


def shown_file(asset: ImageProcessed) -> File:
    """The file the stage shows: what must be there for the picture not to be missing."""
    return next((file for file in asset.proxies if file.rendition == "proxy-1024"), asset.original)


def decision_of(row: Mapping[str, Any], *, name: str, viewer: str) -> Decision | None:
    """The decision that holds in a row of `frames`."""
    if row["decision_id"] is None:
        return None
    return decision(row, asset=row["asset_id"], state=row["decision_state"], name=name, viewer=viewer)


def decision(row: Mapping[str, Any], *, asset: UUID, state: str, name: str, viewer: str) -> Decision:
    """A decision on the asset of this id and name, in whatever state its row says it is."""
    return Decision(
        decision_id=row["decision_id"],
        asset_id=asset,
        asset_name=name,
        state=DECIDED[row["decision"]],
        by=named(row["principal"]),
        by_check=is_check(row["principal"]),
        at=row["decided_at"],
        mine=row["principal"] == viewer,
        code=row["code"],
        reason=row["reason"],
        undo_until=row["undo_until"] if state == "open" else None,
    )


def check_of(verdict: Verdict) -> Check:
    stops = verdict.blocking or verdict.rejecting
    return Check(name=spoken(verdict.check), ok=verdict.ok, measure=_measure(verdict), blocking=stops)


def _measure(verdict: Verdict) -> str:
    """Short where all is well; where it is not, the sentence that says which file and what to do."""
    said = verdict.sentence.removesuffix(".")
    if verdict.unit == "bytes" and verdict.ok and verdict.number is not None:
        return size(verdict.number) + (f" ≤ {size(verdict.limit)}" if verdict.limit else "")
    if not verdict.ok or verdict.number is None or len(said) <= SHORT:
        return said
    return f"{verdict.number:g} {verdict.unit or ''}".strip()


def made_by(generated: ImageGenerated | None, cost: Money) -> MadeBy:
    if generated is None:
        return MadeBy(backend="not known yet", model="", seed=0, cost=cost, why="its fact is on its way")
    route = generated.route
    lane = "" if route.lane in {Lane.STANDARD, Lane.UNKNOWN} else f", {route.lane} lane"
    return MadeBy(
        backend=f"{route.backend}{lane}", model=generated.model, seed=generated.seed, cost=cost, why=route.reason
    )


def money_of(row: Mapping[str, Any] | None) -> Money:
    if row is None or row["cost"] is None:
        return Money(amount=None)
    return Money(amount=Decimal(row["cost"]), currency=row["currency"])


def file_lines(asset: ImageProcessed) -> tuple[FileLine, ...]:
    """The original, signed where it is, and what the channels asked for; review proxies are not for people."""
    return tuple(
        FileLine(
            name=file.name,
            media_type=file.media_type,
            bytes=file.bytes,
            href=address(asset.asset_id, file),
            width=file.width,
            height=file.height,
            recipe=file.recipe,
        )
        for file in asset.published
    )


def publication_lines(rows: Sequence[Mapping[str, Any]]) -> tuple[PublicationLine, ...]:
    return tuple(
        PublicationLine(
            target=row["target"],
            state=row["state"],
            words=", ".join(filter(None, (row["location"], row["detail"]))),
            at=row["changed_at"],
        )
        for row in rows
    )


def minutes_left(waiting: int, decided: int, seconds: float | None) -> int | None:
    """At the pace of the last half hour; None without enough of it to say."""
    if not waiting or decided < 3 or not seconds:
        return None
    return max(1, round(waiting * seconds / decided / 60))


def done_at(in_flight: int, per_minute: float, now: datetime) -> datetime | None:
    return now + timedelta(minutes=in_flight / per_minute) if in_flight and per_minute else None
