"""Progress of what is being made: ephemeral, the latest per job, straight to Kafka past outbox and ledger.

Its thumbnails go to a table (previews.py) first; what goes over Kafka names the step that was drawn.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from services.inference.previews import LARGEST, Drawn, Previews
from services.inference.queue import Piece
from shared.errors import Unavailable
from shared.events import JobProgressed, JobStatus, Stage, WaitingOn
from shared.kafka import Producer, record_of

log = structlog.get_logger()

EVERY = 0.5  # seconds; a reader sees a job move twice a second, however fast its steps are


@dataclass(frozen=True, slots=True)
class State:
    piece: Piece
    traceparent: str | None
    step: int = 0
    steps: int = 0
    waiting_on: WaitingOn | None = None
    detail: str | None = None


class Progress:
    """Collects the latest state of each piece and sends them together; what does not arrive is not missed."""

    def __init__(self, producer: Producer, *, prefix: str = "", previews: Previews | None = None) -> None:
        """Without `previews` nothing is shown."""
        self._producer = producer
        self._prefix = prefix
        self._previews = previews
        self._latest: dict[Piece, State] = {}
        self._drawn: dict[Piece, tuple[int, bytes]] = {}
        self._shown: dict[Piece, int] = {}  # the step that people can see
        self._gone: set[UUID] = set()
        self._news = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def tell(self, state: State) -> None:
        self._latest[state.piece] = state
        self._news.set()

    def show(self, piece: Piece, step: int, image: bytes) -> None:
        if self._previews is not None and len(image) <= LARGEST:
            self._drawn[piece] = step, image
            self._news.set()

    def forget(self, piece: Piece) -> None:
        """Its end says more than a step that was not sent yet."""
        self._latest.pop(piece, None)
        self._drawn.pop(piece, None)
        if self._shown.pop(piece, None) is not None or piece.number > 1:  # a killed worker may have left one
            self._gone.add(piece.job.event.job_id)
            self._news.set()

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._send_forever(), name="inference-progress")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            with contextlib.suppress(Unavailable):
                await self._keep_previews()

    async def flush(self) -> None:
        self._news.clear()
        with contextlib.suppress(Unavailable):
            await self._keep_previews()
        states, self._latest = self._latest, {}
        if states:
            events = [_progressed(state, preview=self._shown.get(piece, 0)) for piece, state in states.items()]
            with contextlib.suppress(Unavailable):
                await self._producer.deliver([record_of(event, prefix=self._prefix) for event in events])

    async def _keep_previews(self) -> None:
        drawn, self._drawn = self._drawn, {}
        gone, self._gone = self._gone, set()
        if self._previews is None or not (drawn or gone):
            return
        # Noted first: who is forgotten while they are written is gone at the next round.
        self._shown |= {piece: step for piece, (step, _) in drawn.items()}
        images: dict[UUID, Drawn] = {
            piece.job.event.job_id: (piece.job.event.workspace, image) for piece, (_, image) in drawn.items()
        }
        try:
            await self._previews.keep(images, gone=gone - images.keys())
        except Unavailable:
            self._gone |= gone
            raise

    async def _send_forever(self) -> None:
        while True:
            await self._news.wait()
            try:
                await self.flush()
            except Exception:
                log.exception("progress.not_sent")
            await asyncio.sleep(EVERY)


def _progressed(state: State, *, preview: int) -> JobProgressed:
    event, at = state.piece.job.event, datetime.now(UTC)
    return JobProgressed.of(
        # Its moment too: what still waits for the same is told again, and that is another fact.
        cause_id=f"{state.piece.attempt_id}/{state.step}/{state.waiting_on or 'running'}/{at.isoformat()}",
        occurred_at=at,
        workspace=event.workspace,
        request_id=event.request_id,
        job_id=event.job_id,
        run=event.run,
        stage=Stage.INFERENCE,
        status=JobStatus.RUNNING if state.waiting_on is None else JobStatus.PENDING,
        waiting_on=state.waiting_on,
        detail=state.detail,
        attempt=state.piece.number,
        step=state.step,
        steps=state.steps,
        preview=preview,
        traceparent=state.traceparent,
    )
