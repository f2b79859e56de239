"""The Review page: a queue as a filmstrip, and the picture on the stage."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.catalog.review.machine import named
from services.catalog.review.outliers import Set
from services.catalog.routes.assets import facts_of
from services.catalog.sql import queries as catalog
from services.catalog.views.drawing import (
    check_of,
    decision_of,
    made_by,
    mark_of_frame,
    minutes_left,
    money_of,
    picture_of,
    shown_file,
    spoken,
    title,
)
from services.catalog.views.rubrics import Rubrics
from services.catalog.views.sets import Name, Sets, scores
from services.catalog.views.sql import queries
from services.catalog.web.view import (
    Choice,
    Decision,
    Frame,
    FrameSet,
    Pace,
    RejectionCode,
    Review,
    ReviewQuery,
    RubricLine,
    Shown,
    Viewer,
)
from shared.blobs import Blobs
from shared.contracts.rejection_codes import REJECTION_CODES
from shared.errors import Unavailable
from shared.events import Brief, ImageProcessed, RequestAccepted
from shared.postgres import Connection

QUEUES = (("to_review", "To review"), ("approved", "Approved today"), ("rejected", "Rejected today"))
QUEUE_ROWS = 20_000  # beyond these a queue is walked from its front as it is decided
SETS_BEFORE, SETS_AFTER = 6, 12
CODES = tuple(RejectionCode(key=key, words=words) for key, words in REJECTION_CODES.items())
ASKED = ("headline", "setting", "season")  # of the variables: what a brief is for a person


async def review(
    connection: Connection,
    viewer: Viewer,
    query: ReviewQuery,
    *,
    cursor: int,
    blobs: Blobs,
    rubrics: Rubrics,
    statistics: Sets,
) -> Review:
    rows = queries.queue(connection, which=query.queue, campaign=query.campaign, many=QUEUE_ROWS)
    queue = [row async for row in rows]
    sets: dict[Name, Set] = {}
    if query.by_outliers:
        sets = await statistics.waiting(connection, query.campaign, workspace=viewer.workspace_id)
    if sets:
        queue = by_outliers(queue, scores(sets.values()))
    wanted = query.asset or next((row["asset_id"] for row in queue if row["open"]), None)
    if wanted is None and query.queue != "to_review" and queue:
        wanted = queue[-1]["asset_id"]
    request = await queries.request_of_asset(connection, asset=wanted) if wanted else None
    window, before, after = _window(queue, request)
    frames = await _frames(connection, window, queue)
    here = next((row for row in frames if row["asset_id"] == wanted), None)
    counts = await _counts(connection, query)
    return Review(
        queue=query.queue,
        campaign=query.campaign,
        **counts,
        by_outliers=query.by_outliers,
        sets=_sets(frames, window, sets),
        shown=await _shown(connection, here, frames, viewer, blobs=blobs, rubrics=rubrics, statistics=statistics)
        if here
        else None,
        next_open=_next_open(queue, wanted),
        codes=CODES,
        cursor=cursor,
        last=_last(frames, query, viewer),
        earlier=before,
        later=after,
        coming=None if here else await _coming(connection),
    )


def by_outliers(queue: Sequence[Any], far: Mapping[UUID, float]) -> list[Any]:
    """The queue by request, that first whose open picture is the farthest from its set; else as they came."""
    most: dict[UUID, float] = {}
    for row in queue:
        score = far.get(row["asset_id"], 0.0) if row["open"] else 0.0
        most[row["request_id"]] = max(most.get(row["request_id"], 0.0), score)
    return sorted(queue, key=lambda row: -most[row["request_id"]])


def _window(queue: Sequence[Any], request: UUID | None) -> tuple[list[UUID], UUID | None, UUID | None]:
    """The requests shown around this one, and the assets just outside on either side."""
    requests = list(dict.fromkeys(row["request_id"] for row in queue))
    if request is not None and request not in requests:
        return [request], None, None  # asked for by its id: it is in no queue
    at = requests.index(request) if request is not None else 0
    first, last = max(0, at - SETS_BEFORE), at + SETS_AFTER
    before = [row["asset_id"] for row in queue if first and row["request_id"] == requests[first - 1]]
    after = [row["asset_id"] for row in queue if last < len(requests) and row["request_id"] == requests[last]]
    return requests[first:last], before[-1] if before else None, after[0] if after else None


async def _frames(connection: Connection, requests: Sequence[UUID], queue: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows with their fact decoded, in the order of the requests and their variants."""
    place = {request: number for number, request in enumerate(requests)}
    versions = [row["asset_version_id"] for row in queue if row["request_id"] in place]
    rows = [
        dict(row) | {"asset": ImageProcessed.model_validate_json(row["body"])}
        async for row in queries.frames(connection, requests=list(requests), versions=versions)
    ]
    return sorted(rows, key=lambda row: (place[row["request_id"]], row["variant"] or 0))


def _sets(
    frames: Sequence[Mapping[str, Any]], requests: Sequence[UUID], sets: Mapping[Name, Set]
) -> tuple[FrameSet, ...]:
    return tuple(
        FrameSet(
            request_id=request,
            name=title(group[0]["asset"].brief),
            frames=tuple(_frame(row, sets) for row in group),
        )
        for request in requests
        if (group := [row for row in frames if row["request_id"] == request])
    )


def _frame(row: Mapping[str, Any], sets: Mapping[Name, Set]) -> Frame:
    asset: ImageProcessed = row["asset"]
    picture = picture_of(asset)
    beside = sets.get((asset.brief.campaign, asset.brief.asset_type))
    return Frame(
        asset_id=row["asset_id"],
        name=title(asset.brief),
        label=f"{asset.brief.variant} of {asset.brief.variants}",
        state=mark_of_frame(row),
        thumb=picture.thumb,
        url=picture.url,
        width=picture.width,
        height=picture.height,
        by=named(row["principal"]) if row["principal"] else None,
        apart=next(iter(beside.why(asset.asset_id)), None) if beside else None,
    )


async def _shown(
    connection: Connection,
    row: Mapping[str, Any],
    frames: Sequence[Mapping[str, Any]],
    viewer: Viewer,
    *,
    blobs: Blobs,
    rubrics: Rubrics,
    statistics: Sets,
) -> Shown:
    asset: ImageProcessed = row["asset"]
    brief = asset.brief
    generated, _ = await facts_of(connection, row["job_id"], run=row["run"])
    cost = [c async for c in catalog.costs(connection, jobs=[row["job_id"]])]
    siblings = [f["asset_id"] for f in frames if f["request_id"] == row["request_id"]]
    missing = await missing_words(blobs, asset)
    name = title(brief)
    kind = spoken(brief.asset_type).lower()
    return Shown(
        asset_id=row["asset_id"],
        asset_version_id=row["asset_version_id"],
        review_version=row["review_version"] or 0,
        job_id=row["job_id"],
        name=name,
        line=f"{brief.product or ', '.join(brief.skus)} · {kind} · variant {brief.variant} of {brief.variants}",
        state=mark_of_frame(row),
        picture=picture_of(asset) if missing is None else None,
        position=siblings.index(row["asset_id"]) + 1,
        of=len(siblings),
        sku=", ".join(brief.skus),
        campaign=spoken(brief.campaign) if brief.campaign else "no campaign",
        asked=await _asked(connection, row["request_id"], brief),
        rubric_label=asset.rubric.label,
        rubric=await rubric_lines(rubrics, asset, met=row["rubric"] or ()),
        checks=tuple(map(check_of, asset.checks)),
        made_by=made_by(generated, money_of(cost[0] if cost else None)),
        missing=missing,
        decision=decision_of(row, name=name, viewer=viewer.name),
        confidentiality=asset.confidentiality,
        apart=await apart_words(connection, asset, statistics),
    )


async def apart_words(connection: Connection, asset: ImageProcessed, statistics: Sets) -> tuple[str, ...]:
    """In what it is unlike the rest of its set; an asset that was never measured is compared with nothing."""
    if asset.measures is None:
        return ()
    name = (asset.brief.campaign, asset.brief.asset_type)
    return (await statistics.of(connection, name, workspace=asset.workspace)).why(asset.asset_id)


async def missing_words(blobs: Blobs, asset: ImageProcessed) -> str | None:
    """Why there is no picture; None where there is one, or where the store cannot say."""
    file = shown_file(asset)
    try:
        found = await blobs.head(file.key)
    except Unavailable:
        return None
    return None if found else f"The store has nothing under {file.key}."


async def rubric_lines(rubrics: Rubrics, asset: ImageProcessed, *, met: Sequence[str]) -> tuple[RubricLine, ...]:
    lines = await rubrics.lines(asset.workspace, asset.rubric)
    return tuple(RubricLine(key=line.id, words=line.text, met=line.id in met) for line in lines)


async def _asked(connection: Connection, request: UUID, brief: Brief) -> tuple[str, ...]:
    rows = queries.facts_about(connection, abouts=[request], types=["RequestAccepted"])
    accepted = [RequestAccepted.model_validate_json(row["body"]) async for row in rows]
    variables = accepted[0].variables if accepted else {}
    headline = brief.headline or variables.get("headline")
    said = [f"“{headline}”" if headline else None, *(variables.get(name) for name in ASKED[1:]), brief.locale]
    return tuple(str(words) for words in said if words)


def _next_open(queue: Sequence[Any], wanted: UUID | None) -> UUID | None:
    """After the shown asset, from the front at the end."""
    at = next((place for place, row in enumerate(queue) if row["asset_id"] == wanted), -1)
    turned = [*queue[at + 1 :], *queue[: max(at, 0)]]
    return next((row["asset_id"] for row in turned if row["open"] and row["asset_id"] != wanted), None)


def _last(frames: Sequence[Mapping[str, Any]], query: ReviewQuery, viewer: Viewer) -> Decision | None:
    for row in frames:
        if query.last is not None and row["decision_id"] == query.last:
            found = decision_of(row, name=title(row["asset"].brief), viewer=viewer.name)
            return found if found and found.mine and found.undo_until else None
    return None


async def _counts(connection: Connection, query: ReviewQuery) -> dict[str, Any]:
    waiting = {row["campaign"]: row["waiting"] async for row in queries.waiting_by_campaign(connection)}
    decided: dict[tuple[str | None, str], int] = {}
    async for row in queries.decided_by_campaign(connection):
        decided[row["campaign"], row["decision"]] = row["decided"]

    def of(queue: str, campaign: str | None) -> int:
        if queue == "to_review":
            return waiting.get(campaign, 0) if campaign else sum(waiting.values())
        word = {"approved": "approve", "rejected": "reject"}[queue]
        return sum(n for (name, said), n in decided.items() if said == word and campaign in {None, name})

    names = sorted({name for name in waiting if name} | {name for name, _ in decided if name})
    today = await queries.pace_today(connection)
    left = sum(waiting.values())
    return {
        "queues": tuple(Choice(key=key, words=words, count=of(key, query.campaign)) for key, words in QUEUES),
        "campaigns": tuple(Choice(key=name, words=spoken(name), count=of(query.queue, name)) for name in names),
        "pace": Pace(
            decided=today["decided"],
            total=today["decided"] + left,
            accepted=today["accepted"],
            minutes_left=minutes_left(left, today["lately"], today["seconds"]),
        ),
    }


async def _coming(connection: Connection) -> str | None:
    """When the next pictures land, where there are any on their way."""
    flying = sum([row["jobs"] async for row in queries.in_flight(connection) if row["rank"] < 2])
    if not flying:
        return None
    minutes = [row async for row in queries.minutes(connection) if row["type"] == "ImageProcessed"]
    lately = sum(row["facts"] for row in minutes if row["ago"] <= 5)
    pace = f", the next in about {max(1, round(300 / lately))} s" if lately else ""
    return f"{flying} {'job is' if flying == 1 else 'jobs are'} under way{pace}"
