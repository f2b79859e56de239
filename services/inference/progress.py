"""Progress of what is being made: ephemeral, the latest per job, straight to Kafka past outbox and ledger."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

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

    def __init__(self, producer: Producer, *, prefix: str = "") -> None:
        self._producer = producer
        self._prefix = prefix
        self._latest: dict[Piece, State] = {}
        self._news = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def tell(self, state: State) -> None:
        self._latest[state.piece] = state
        self._news.set()

    def forget(self, piece: Piece) -> None:
        """Its end says more than a step that was not sent yet."""
        self._latest.pop(piece, None)

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._send_forever(), name="inference-progress")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def flush(self) -> None:
        states, self._latest = self._latest, {}
        self._news.clear()
        if states:
            events = [_progressed(state) for state in states.values()]
            with contextlib.suppress(Unavailable):
                await self._producer.deliver([record_of(event, prefix=self._prefix) for event in events])

    async def _send_forever(self) -> None:
        while True:
            await self._news.wait()
            try:
                await self.flush()
            except Exception:
                log.exception("progress.not_sent")
            await asyncio.sleep(EVERY)


def _progressed(state: State) -> JobProgressed:
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
        traceparent=state.traceparent,
    )
