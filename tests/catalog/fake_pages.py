"""`PageData` over a list of pieces: decisions and their time are real, everything else is said by the fixture."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from services.catalog.views.recipes import Tried, paired
from services.catalog.web import view
from services.catalog.web.view import Mark, Money, Viewer
from shared.library.documents import Recipe
from tests.catalog.campaign import BATCH, CODES, GIFTS, PROMPT, RUBRIC, TEA, VIEWER, WINTER, Piece, all_pieces, now

QUEUES = {"to_review": Mark.COMPLETED, "approved": Mark.APPROVED, "rejected": Mark.REJECTED}
RATES = (0, 0, 0, 1, 0, 2, 4, 3, 6, 2, 0, 1, 3, 5, 4, 2, 1, 0, 0, 2, 7, 6, 3, 1, 0, 0, 4, 9, 6, 2)
RECIPES = {
    version: Recipe.model_validate(
        {"name": "web", "version": version, "owner": "design", "channel": "web", "source": source, "renditions": made}
    )
    for version, source, made in (
        (1, "web.dev, Serve responsive images, read on 2026-11-02", [
            {"name": "card", "width": 640, "height": 640, "format": "webp", "quality": 80},
            {"name": "banner", "width": 1200, "height": 400, "operations": [{"op": "crop"}, {"op": "resize"}]},
            {"name": "thumb", "width": 160, "height": 160},
        ]),
        (2, "web.dev, Serve responsive images, read on 2026-11-20", [
            {"name": "card", "width": 640, "height": 640, "format": "webp", "quality": 74, "max_bytes": 60_000},
            {"name": "banner", "width": 1200, "height": 400, "safe_area": [0.05, 0.1, 0.95, 0.9], "operations": [
                {"op": "crop", "params": {"fill": 0.8}}, {"op": "resize"},
                {"op": "text", "params": {"text": "headline", "anchor": "start"}, "markets": ["GB", "AE"]},
            ]},
            {"name": "square-x2", "width": 1280, "height": 1280, "optional": True},
        ]),
    )
}  # fmt: skip
FREE = Money(amount=Decimal(0))
SPANS = (
    view.Span(kind="work", words="intake", begins=0, seconds=0.02),
    view.Span(kind="wait", words="prompt", begins=0.02, seconds=0.08),
    view.Span(kind="work", words="prompt", begins=0.1, seconds=0.02),
    view.Span(kind="wait", words="a worker", begins=0.12, seconds=0.6),
    view.Span(kind="work", words="inference", begins=0.72, seconds=0.3, cost=Money(amount=None)),
    view.Span(kind="wait", words="retry", begins=1.02, seconds=0.5),
    view.Span(kind="work", words="inference", begins=1.52, seconds=0.8, retry=True, cost=Money(amount=Decimal("0.04"))),
    view.Span(kind="work", words="postprocess", begins=2.32, seconds=0.4),
    view.Span(kind="wait", words="a person", begins=2.72, seconds=11520),
)


@dataclass
class FakePages:
    pieces: list[Piece] = field(default_factory=all_pieces)
    undo_seconds: float = 10.0
    batch: view.Batch | None = None
    away: str | None = None
    silent: bool = False
    replays: dict[UUID, list[Any]] = field(default_factory=dict)
    preview: str | None = None
    _listeners: list[asyncio.Queue[str | None]] = field(default_factory=list)
    _told: int = 0

    # What happens ------------------------------------------------------------------------------------------------

    def tell(self, event: str, **data: str) -> None:
        self._told += 1
        for listener in self._listeners:
            listener.put_nowait(f"id: {self._told}\nevent: {event}\ndata: {json.dumps(data)}\n\n")

    def hang_up(self) -> None:
        """Ends every stream, and answers no new one until `silent` is taken back."""
        self.silent = True
        for listener in self._listeners:
            listener.put_nowait(None)

    async def events(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            yield "retry: 100\nevent: heartbeat\ndata: {}\n\n"
            while (told := await queue.get()) is not None:
                yield told
        finally:
            self._listeners.remove(queue)

    def find(self, asset_id: UUID | None) -> Piece | None:
        return next((piece for piece in self.pieces if piece.asset_id == asset_id), None)

    def rule(self, piece: Piece, state: Mark, *, by: str, code: str | None = None, reason: str | None = None) -> UUID:
        at = now()
        mine = by == VIEWER.name
        piece.version += 1
        piece.state = state
        piece.decision = view.Decision(
            decision_id=uuid5(piece.asset_id, f"decision {piece.version}"),
            asset_id=piece.asset_id,
            asset_name=piece.asked.name,
            state=state,
            by=by,
            at=at,
            mine=mine,
            code=code,
            reason=reason,
            undo_until=at + timedelta(seconds=self.undo_seconds) if mine else None,
        )
        self.tell("decision", asset_id=str(piece.asset_id), status=state.value, by=by, at=at.isoformat())
        return piece.decision.decision_id

    async def decide(self, viewer: Viewer, ruling: view.Ruling) -> view.Decided | view.Conflict:
        piece = self.find(ruling.asset_id)
        assert piece is not None
        if piece.decision or piece.version != ruling.review_version:
            return view.Conflict(what=f"{piece.decision.by if piece.decision else 'somebody'} was quicker")
        piece.met = frozenset(ruling.rubric)
        state = Mark.APPROVED if ruling.decision == "approve" else Mark.REJECTED
        decided = self.rule(piece, state, by=viewer.name, code=ruling.code, reason=ruling.reason)
        return view.Decided(decision_id=decided)

    async def undo(self, viewer: Viewer, decision_id: UUID) -> view.Undone | view.Conflict:
        for piece in self.pieces:
            decision = standing(piece)
            if decision and decision.decision_id == decision_id and decision.undo_until:
                piece.decision, piece.state, piece.version = None, Mark.COMPLETED, piece.version + 1
                self.tell("decision", asset_id=str(piece.asset_id), status="completed", by=viewer.name, at="")
                return view.Undone(asset_id=piece.asset_id)
        return view.Conflict(what="too late")

    # What is shown -----------------------------------------------------------------------------------------------

    async def review(self, viewer: Viewer, query: view.ReviewQuery) -> view.Review:
        here = [p for p in self.pieces if query.campaign in {None, p.asked.campaign}]
        wanted = QUEUES[query.queue]
        listed = here if query.queue == "to_review" else [p for p in here if p.state is wanted]
        open_ = [p for p in listed if p.state is wanted]
        piece = self.find(query.asset) or (open_[0] if open_ else None)
        at = here.index(piece) + 1 if piece in here else 0
        decisions = [decision for p in self.pieces if (decision := standing(p))]
        return view.Review(
            queue=query.queue,
            campaign=query.campaign,
            queues=tuple(
                view.Choice(key=key, words=words, count=sum(p.state is QUEUES[key] for p in here))
                for key, words in (("to_review", "To review"), ("approved", "Approved"), ("rejected", "Rejected"))
            ),
            campaigns=tuple(
                view.Choice(
                    key=name,
                    words=name,
                    count=sum(p.asked.campaign == name and p.state is wanted for p in self.pieces),
                )
                for name in (WINTER, GIFTS, TEA)
            ),
            pace=view.Pace(
                decided=len(decisions),
                total=len(self.pieces),
                accepted=sum(decision.state is Mark.APPROVED for decision in decisions),
                minutes_left=3 if open_ else None,
            ),
            sets=sets(listed),
            shown=shown(piece) if piece else None,
            next_open=next((p.asset_id for p in here[at:] + here[:at] if p.state is Mark.COMPLETED), None),
            codes=CODES,
            cursor=self._told,
            last=next((d for d in decisions if d.decision_id == query.last and d.undo_until), None),
            by_outliers=query.by_outliers,
            coming="3 jobs are running, the next in about 20 s",
        )

    async def jobs(self, viewer: Viewer, query: view.JobsQuery) -> view.Jobs:
        states = [piece.state for piece in self.pieces]
        waits = states.count(Mark.COMPLETED)
        big = self.batch is not None
        batch = self.batch or view.Batch(
            batch_id=BATCH,
            name="winter-home.csv",
            total=len(states),
            counts={mark: states.count(mark) for mark in Mark if mark in states},
            squares="".join(view.SQUARES[state] for state in states),
            refused_rows=2,
            spent=FREE,
        )
        page = batch.squares[query.first : query.first + view.SQUARES_A_SHEET]
        asked = [p for p in self.pieces if query.state in {None, p.state}]
        return view.Jobs(
            in_flight=1441 if big else 0,
            per_minute=7.9 if big else 0.0,
            done_at=now() + timedelta(hours=3) if big else None,
            stages=(
                stage("intake", 0, oldest=0.4),
                stage("prompt", 0, running=2, oldest=0.1),
                stage("inference", 1184 if big else 0, running=8, failed=2, oldest=2.6),
                stage("postprocess", 31 if big else 0, running=4, oldest=0.5),
                stage("review", waits, oldest=11520),
                stage("publish", 12 if big else 0, running=2, failed=9 if big else 0),
            ),
            batches=(replace(batch, squares=page, first=query.first),) if batch.total else (),
            waiting_on=CAUSES if big else (view.Cause(key="review", words="a person's decision", count=waits),),
            shows=tuple(
                view.Choice(key=key, words=words, count=count)
                for key, words, count in (
                    ("needs", "Needs someone", waits),
                    ("waiting", "Waiting", 1289 if big else 0),
                    ("running", "Running", 14 if big else 0),
                    ("failed", "Failed", 11 if big else 0),
                    ("all", "All", batch.total),
                )
            ),
            entries=tuple(entry(p) for p in asked if query.show == "all" or p.state is Mark.COMPLETED),
            cursor=self._told,
            job=next((detail(p, preview=self.preview) for p in self.pieces if p.job_id == query.job), None),
            away=self.away,
        )

    async def job_at(self, viewer: Viewer, batch_id: UUID, place: int) -> UUID | None:
        return self.pieces[place].job_id if batch_id == BATCH and place < len(self.pieces) else None

    async def asset(self, viewer: Viewer, asset_id: UUID) -> view.AssetLife | None:
        piece = self.find(asset_id)
        return life(piece) if piece else None

    async def recipe(self, viewer: Viewer, query: view.RecipeQuery) -> view.RecipePair | None:
        piece = self.find(query.asset)
        if query.name != "web":
            return None
        on = Tried(asset=piece.asset_id, name=piece.asked.name, manifest="5a" * 32) if piece else None
        first, second = (RECIPES[number] for number in (query.first or 1, query.second or 2))
        return paired(first, second, versions=sorted(RECIPES, reverse=True), on=on)


def standing(piece: Piece) -> view.Decision | None:
    """The decision as it is now: a fact, once its window has closed."""
    decision = piece.decision
    late = decision and decision.undo_until and decision.undo_until <= now()
    return replace(decision, undo_until=None) if decision and late else decision


def sets(listed: Sequence[Piece]) -> tuple[view.FrameSet, ...]:
    grouped: dict[UUID, list[Piece]] = {}
    for piece in listed:
        grouped.setdefault(piece.request_id, []).append(piece)
    return tuple(
        view.FrameSet(request_id=request, name=group[0].asked.name, frames=tuple(p.frame for p in group))
        for request, group in grouped.items()
    )


def made_by(piece: Piece) -> view.MadeBy:
    level = piece.asked.confidentiality
    return view.MadeBy(
        backend="proof on this machine",
        model="calotype-proof/1",
        seed=4210 + piece.variant,
        cost=FREE,
        why="confidential stays on this machine" if level == "confidential" else "public, no reference needed",
    )


def checks(piece: Piece) -> tuple[view.Check, ...]:
    width, height = piece.asked.size
    alt = piece.variant != 2
    return (
        view.Check(name="Dimensions", ok=True, measure=f"{width} × {height}"),
        view.Check(name="Files in budget", ok=True, measure="6, email 94 kB ≤ 120 kB"),
        view.Check(name="Names", ok=True, measure="6 of 6"),
        view.Check(name="Metadata", ok=alt, measure="complete" if alt else "alt text missing"),
    )


def shown(piece: Piece) -> view.Shown:
    asked = piece.asked
    return view.Shown(
        asset_id=piece.asset_id,
        asset_version_id=piece.version_id,
        review_version=piece.version,
        job_id=piece.job_id,
        name=asked.name,
        line=f"{asked.product} · {asked.asset_type} · variant {piece.variant} of 3",
        state=piece.state,
        picture=piece.picture,
        position=piece.variant,
        of=3,
        sku=asked.sku,
        campaign=asked.campaign,
        asked=(asked.headline, f"{asked.wall} wall", "winter", asked.locale),
        rubric_label=f"{asked.asset_type.replace(' ', '-')}@2",
        rubric=tuple(replace(line, met=line.key in piece.met) for line in RUBRIC),
        checks=checks(piece),
        apart=piece.apart,
        made_by=made_by(piece),
        missing=piece.missing,
        decision=standing(piece),
        confidentiality=asked.confidentiality,
    )


CAUSES = (
    view.Cause(key="worker", words="a worker in the private pool", count=948),
    view.Cause(key="cap", words="spend cap, Winter home", count=201),
    view.Cause(key="base", words="review of a base shot", count=35),
    view.Cause(key="retry", words="retry in 41 s (folder: disk full)", count=9),
    view.Cause(key="embargo", words="embargo until 24 Nov 08:00", count=6),
)


def stage(
    key: view.StageKey, waiting: int, *, running: int = 0, failed: int = 0, oldest: float | None = None
) -> view.StageNow:
    turn = len(key)
    return view.StageNow(
        key=key,
        waiting=waiting,
        running=running,
        failed=failed,
        per_minute=RATES[turn:] + RATES[:turn],
        oldest_seconds=oldest,
    )


def entry(piece: Piece) -> view.Entry:
    waits = piece.state is Mark.COMPLETED
    by = piece.decision.by if piece.decision else ""
    return view.Entry(
        job_id=piece.job_id,
        name=f"{piece.asked.name} · {piece.variant} of 3",
        state=piece.state,
        cause="waits for a person" if waits else f"decided by {by}",
        act=("review", f"/review?asset={piece.asset_id}") if waits else ("its life", f"/assets/{piece.asset_id}"),
    )


def files(piece: Piece) -> tuple[view.FileLine, ...]:
    stem = f"{piece.asked.sku.lower()}_{piece.asked.asset_type.replace(' ', '-')}_v{piece.variant}"
    return tuple(
        view.FileLine(
            name=f"{stem}_{recipe}.webp",
            media_type="image/webp",
            bytes=count,
            href=f"/v1/files/{uuid5(piece.asset_id, recipe)}",
            width=width,
            height=height,
            recipe=f"{recipe}@1",
        )
        for recipe, width, height, count in (
            ("web", 1200, 1200, 94_210),
            ("social", 1080, 1350, 143_882),
            ("email", 600, 300, 38_020),
        )
    )


def publications(piece: Piece) -> tuple[view.PublicationLine, ...]:
    if piece.state is not Mark.APPROVED:
        return ()
    words = "3 files in winter-home/, read back equal"
    return (view.PublicationLine(target="demo-folder", state="delivered", words=words, at=now()),)


def detail(piece: Piece, *, preview: str | None) -> view.JobDetail:
    return view.JobDetail(
        job_id=piece.job_id,
        name=f"{piece.asked.name} · {piece.variant} of 3",
        state=piece.state,
        why="Waits for a person since 14:02 UTC: any reviewer of Salt & Linden can decide.",
        command=f"calotype why {piece.job_id}",
        spans=SPANS,
        prompt=PROMPT,
        negative_prompt="people, wet skin, medical claims",
        manifest=(("backend", "proof"), ("seed", "4211"), ("size", "1280 × 1024"), ("scheduler", "none")),
        files=files(piece),
        publications=publications(piece),
        asset_id=piece.asset_id,
        preview=preview,
        routing=view.Routing(
            chosen="proof",
            why="public work of normal priority → private backend proof",
            table="routes@1",
            refused=(("cloud-images", "it is switched off"),),
        ),
    )


def life(piece: Piece) -> view.AssetLife:
    asked = piece.asked
    began = now() - timedelta(hours=3, minutes=12)
    decision = standing(piece)
    facts = (
        (0.0, "intake", "request accepted: row 3 of winter-home.csv"),
        (0.1, "prompt", "prompt assembled from lifestyle@2"),
        (2.3, "inference", "image generated by proof, seed 4211"),
        (2.7, "postprocess", "3 files made, 4 checks"),
        (2.72, "catalog", "waits for a person"),
    )
    return view.AssetLife(
        asset_id=piece.asset_id,
        asset_version_id=piece.version_id,
        job_id=piece.job_id,
        request_id=piece.request_id,
        name=asked.name,
        state=piece.state,
        picture=piece.picture,
        missing=piece.missing,
        asked_by="Mara Lind",
        asked_at=began,
        asked_through=f"row {piece.row + 1} of winter-home.csv",
        campaign=asked.campaign,
        template="lifestyle@2",
        confidentiality=asked.confidentiality,
        variables=(("sku", asked.sku), ("setting", asked.wall), ("season", "winter"), ("headline", asked.headline)),
        channels=("web", "social", "email"),
        prompt=PROMPT,
        negative_prompt="people, wet skin, medical claims",
        parameters=(("size", "1280 × 1024"), ("steps", "5"), ("guidance", "7.0"), ("scheduler", "none")),
        made_by=made_by(piece),
        refused_routes=(("cloud", "disabled; it stands there for the estimate"),),
        attempts=(
            view.AttemptLine(
                number=1, backend="proof", state="failed", seconds=0.3, cost=Money(amount=None), words="out of memory"
            ),
            view.AttemptLine(
                number=2,
                backend="proof",
                state="succeeded",
                seconds=0.8,
                cost=FREE,
                call="req_7",
                called_for=0.5,
                price_list="routes@3",
                device_seconds=0.25,
            ),
        ),
        cost=FREE,
        files=files(piece),
        checks=checks(piece),
        apart=piece.apart,
        rubric_label=f"{asked.asset_type.replace(' ', '-')}@2",
        rubric=tuple(replace(line, met=line.key in piece.met) for line in RUBRIC),
        decisions=(decision,) if decision else (),
        publications=publications(piece),
        facts=tuple(
            view.Fact(at=began + timedelta(seconds=s), stage=stage_, words=words, event_id=uuid5(piece.asset_id, words))
            for s, stage_, words in facts
        ),
        spans=SPANS,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        manifest="5a" * 32,
        derivatives="5b" * 32,
        recipes=("web@1",),
        more_like='{"template": "lifestyle@2", "variables": {}}',
        parent=piece.asset_id,
        children=(
            view.Child(job_id=piece.job_id, asset_id=piece.asset_id, state=Mark.COMPLETED),
            view.Child(job_id=piece.job_id, asset_id=None, state=Mark.RUNNING),
        ),
        reruns=(
            view.RerunLine(
                at=began,
                by="otto",
                recipes=("web@2",),
                state=Mark.FAILED,
                why="invalid_request: web@2, square: there is no operation 'crpo'",
                remedy="publish another version of them",
            ),
        ),
    )


def reviewed() -> FakePages:
    """As the demo leaves it: eight approved, one rejected for its palette, 27 for the visitor."""
    fake = FakePages()
    for piece in fake.pieces[:8]:
        fake.rule(piece, Mark.APPROVED, by="Mara Lind")
    fake.rule(fake.pieces[8], Mark.REJECTED, by="Mara Lind", code="off_palette")
    return fake
