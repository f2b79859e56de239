"""CUDA graphs: a step whose launches are recorded once and then made as one.

Stable Diffusion XL's step is 2,300 launches, which take a host five to ten times as long as a GPU takes for the step of
one image. Recorded, the same kernels run in the same order on the same numbers: not a bit of the result is another.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import torch

from services.inference.backends.diffusion.adapters import Call, joined, nested, parted, together
from services.inference.backends.diffusion.planner import Batch

REMEMBERED = 32  # recordings, of a group at a shape each: what they work in is shared, what goes in and out is not


class Recording:
    """One group's step at one shape. Its kernels read and write where they did when it was recorded."""

    def __init__(self, calls: Sequence[Call], batch: Batch, pool: Any) -> None:
        self._said = {
            name: value.clone() if isinstance(value, torch.Tensor) else value
            for name, value in joined(calls, batch).items()
        }
        self._graph = torch.cuda.CUDAGraph()
        # Other threads encode, decode and load meanwhile; what they ask of the GPU is no part of it and no mistake.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._predicted = calls[0].forward(**nested(self._said))

    def replay(self, calls: Sequence[Call], batch: Batch) -> list[Any]:
        for name, value in joined(calls, batch).items():
            if isinstance(value, torch.Tensor):
                self._said[name].copy_(value)
        self._graph.replay()
        return parted(self._predicted, calls, batch)


class Graphs:
    """Steps of any group: run as they are the first time, recorded the second, replayed from then on.

    One loop uses it, a step at a time, so all recordings work in the same memory. Where one fails (a model that waits
    for an answer of its GPU, memory that is short) this process records no more: torch does not promise that it can.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self._records = wanted
        self._known: OrderedDict[Hashable, Recording | None] = OrderedDict()  # None: it ran once, as it is
        self._pool: Any = None

    def together(self, calls: Sequence[Call], batch: Batch) -> list[Any]:
        """As `adapters.together`."""
        if not calls[0].is_recordable:
            return together(calls, batch)
        key = calls[0].group, batch.shape
        recording = self._known.get(key)
        if recording is None and key in self._known and self._records:
            recording = self._recorded(calls, batch)
        self._known[key] = recording
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return together(calls, batch) if recording is None else recording.replay(calls, batch)

    def clear(self) -> bool:
        """Gives back their memory; whether there was any."""
        had = any(recording is not None for recording in self._known.values())
        self._known.clear()
        self._pool = None
        return had

    def _recorded(self, calls: Sequence[Call], batch: Batch) -> Recording | None:
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        stream = torch.cuda.current_stream()
        try:
            return Recording(calls, batch, self._pool)
        except Exception:  # noqa: BLE001  # whatever it is, the step as it is says it again or does not have it
            torch.cuda.set_stream(stream)  # torch leaves a recording that failed without going back to it
            self._records = False
            return None
