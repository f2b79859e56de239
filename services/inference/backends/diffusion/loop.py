"""The step loop: every image's pipeline runs in a thread of its own, and the loop takes all their steps.

A thread runs `pipe()` up to a call of the model's core, which is held back; the loop, on the main thread, joins the
calls that wait into one batch, runs it, and gives each thread its rows. So each image keeps its own scheduler, seed,
guidance and step count; it joins where its first call comes in, and leaves with its last. Prompts are encoded and
pictures decoded in those threads too, beside the steps, one of each at a time.

All that the loop knows of its rows comes in one queue, so there is no lock between them.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import torch

from services.inference.backends.diffusion.adapters import Call
from services.inference.backends.diffusion.graphs import Graphs
from services.inference.backends.diffusion.models import is_out_of_memory
from services.inference.backends.diffusion.planner import Batch, Paces, Usage, Want, plan
from services.inference.backends.diffusion.rows import Cancelled, NoMemory, Row, Turn
from services.inference.backends.diffusion.timing import Took

AHEAD = 1  # steps that a device still works on when the next one is planned


class Loop:
    """`make` runs one image in its row's thread and says what to tell; `size` is how many threads there are.

    `free` gives back memory that is not in use, and says whether a model was dropped.
    """

    def __init__(
        self,
        make: Callable[[Row], Any],
        tell: Callable[[Row, Any], None],
        free: Callable[[], bool],
        *,
        size: int,
        shares: Mapping[str, int],
        graphs: Graphs | None = None,
    ) -> None:
        # A tokenizer fails where two threads use it at once; two decoders at once would double the peak of memory.
        self.encoding = threading.Lock()
        self.decoding = threading.Lock()
        self._make = make
        self._tell = tell
        self._free = free
        self._heard: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._new: SimpleQueue[Row] = SimpleQueue()
        self._rows: dict[int, Row] = {}
        self._wants: dict[int, tuple[Want, Call | Turn]] = {}
        self._stepping: set[int] = set()  # rows that were answered and have not said yet what comes next
        self._paces = Paces()
        self._graphs = graphs or Graphs()
        self._usage = Usage(shares)
        self._unnoted: deque[tuple[Took, list[str]]] = deque()
        self._ahead: deque[Took] = deque()  # steps that the device may not be through with
        self._asked = 0
        for _ in range(size):
            threading.Thread(target=self._work, daemon=True).start()

    # -- from any thread

    def submit(self, id: int, work: Mapping[str, Any]) -> None:
        self.hear(lambda: self._submitted(Row(id, work, self)))

    def cancel(self, id: int) -> None:
        self.hear(lambda: self._cancelled(id))

    def hear(self, news: Callable[[], None]) -> None:
        self._heard.put(news)

    def is_beside_another_model(self, row: Row) -> bool:
        """Whether an image of another model is under way: its weights are in memory, or soon will be."""
        return any(other.work["model"] != row.work["model"] for other in tuple(self._rows.values()))

    # -- the loop's thread

    def run(self) -> None:
        # Every pipeline turns gradients off for itself and, when it ends, back to what it found in its thread.
        with torch.no_grad():
            while True:
                self.step()

    def step(self) -> None:
        """Hears what there is; then, as soon as every row of the last batch has said what it wants, the next batch."""
        while not self._wants or self._stepping:
            self._heard.get()()
        # A GPU takes orders faster than it works. One step is under way while the next is planned: were all ordered at
        # once, nobody could join them, stop them or see how far they are.
        while len(self._ahead) > AHEAD:
            self._ahead.popleft().wait()
        while not self._heard.empty():
            self._heard.get()()
        if not self._wants or self._stepping:
            return
        wants = [want for want, _ in self._wants.values()]
        owed = self._usage.owed(wants, now=time.monotonic())
        self._take(plan(wants, shapes=self._paces.shapes, owed=owed))

    def asked(self, row: Row, wanted: Call | Turn) -> None:
        self._stepping.discard(row.id)
        if row.is_cancelled:
            row.answers.put(Cancelled())
            return
        self._asked += 1
        if isinstance(wanted, Call):
            want = Want(row.id, wanted.group, row.lane, self._asked, row.pinned, row.place)
        else:
            want = Want(row.id, ("turn", row.id), row.lane, self._asked, 1)
        self._wants[row.id] = want, wanted

    def loaded(self) -> None:
        """Other models are in memory than before: there may be room again, and recordings that nobody needs."""
        self._paces.uncap()
        self._graphs.clear()

    def free(self) -> bool:
        """Gives back what is not in use, recordings first; whether there was any. For the loop, or who has its turn."""
        recorded = self._graphs.clear()
        return self._free() or recorded

    def steps_over(self, row: Row) -> None:
        self._stepping.discard(row.id)

    def _submitted(self, row: Row) -> None:
        self._rows[row.id] = row
        self._new.put(row)

    def _cancelled(self, id: int) -> None:
        row = self._rows.get(id)
        if row is None:
            return  # it crossed with the end of its image
        row.is_cancelled = True
        if self._wants.pop(id, None) is not None:
            row.answers.put(Cancelled())

    def _ended(self, row: Row) -> None:
        self._stepping.discard(row.id)
        self._rows.pop(row.id, None)

    def _take(self, batch: Batch) -> None:
        taken = [(self._rows[row], *self._wants.pop(row)) for row in batch.rows]
        rows = [row for row, _, _ in taken]
        calls = [wanted for _, _, wanted in taken if isinstance(wanted, Call)]
        if not calls:
            self._answer(rows, [None])
            return
        want = taken[0][1]
        try:
            step = self._graphs.prepared(calls, batch)
            took = Took(calls[0].device)
            answers = step()
            took.stop()
        except Exception as error:  # noqa: BLE001  # whatever a model raises is its images' end, not the loop's
            failed: Exception = NoMemory() if is_out_of_memory(error) else error
        else:
            if want.pinned is None and (pace := self._paces.of(want.group)).is_measuring(batch.shape):
                pace.note(batch.shape, took.effort)
            self._ahead.append(took)
            self._note(took, [row.lane for row in rows])
            for row, place in zip(rows, batch.places, strict=True):
                row.stepped(batch.shape, place)
                row.steps.append((took, len(rows)))
            self._answer(rows, answers)
            return
        # Outside the handler: the error's traceback holds the tensors that filled the memory.
        self._apart(taken, batch, failed)

    def _apart(self, taken: Sequence[tuple[Row, Want, Call | Turn]], batch: Batch, failed: Exception) -> None:
        """Short of memory: without idle models, or half as many at once. Anything else: each alone, to find whose."""
        if isinstance(failed, NoMemory):
            if self.free():
                self._paces.uncap()
                self._wants |= {row.id: (want, wanted) for row, want, wanted in taken}
                return
            if taken[0][1].pinned is None:
                self._paces.cap(taken[0][1].group, batch.shape)
        if len(taken) == 1:
            self._answer([taken[0][0]], [failed])
            return
        for row, want, wanted in taken:
            if want.pinned is not None or not isinstance(failed, NoMemory):
                want = replace(want, group=(want.group, row.id), pinned=want.pinned or 1)  # noqa: PLW2901
            self._wants[row.id] = want, wanted

    def _note(self, took: Took, lanes: list[str]) -> None:
        self._unnoted.append((took, lanes))
        while self._unnoted and self._unnoted[0][0].is_known:
            known, of = self._unnoted.popleft()
            self._usage.note(of, known.seconds, now=time.monotonic())

    def _answer(self, rows: Sequence[Row], answers: Sequence[Any]) -> None:
        self._stepping.update(row.id for row in rows)
        for row, answer in zip(rows, answers, strict=True):
            row.answers.put(answer)

    # -- the rows' threads

    def _work(self) -> None:
        while True:
            row = self._new.get()
            try:
                self._tell(row, self._make(row))
            finally:
                row.leave()
                self.hear(lambda row=row: self._ended(row))  # type: ignore[misc]  # bound now, called later
