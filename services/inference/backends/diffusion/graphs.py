"""CUDA graphs: a step whose launches are recorded once and then made as one.

Stable Diffusion XL's step is 2,300 launches, which take a host five to ten times as long as a GPU takes for the step of
one image. Recorded, the same kernels run in the same order on the same numbers: not a bit of the result is another.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import torch

from services.inference.backends.diffusion.adapters import Call, joined, nested, parted, together
from services.inference.backends.diffusion.models import is_out_of_memory
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

    One loop uses it, a step at a time, so all recordings work in the same memory. `on_unrecorded` hears why one failed:
    for want of memory that step is not recorded; else (a model that waits for an answer of its GPU) none is any more,
    for torch does not promise that it can.
    """

    def __init__(self, *, wanted: bool = True, on_unrecorded: Callable[[str], None] = lambda _: None) -> None:
        self._records = wanted
        self._on_unrecorded = on_unrecorded
        self._known: OrderedDict[Hashable, Recording | None] = OrderedDict()  # None: it ran, or is not to be recorded
        self._unfit: set[Hashable] = set()
        self._pool: Any = None

    def prepared(self, calls: Sequence[Call], batch: Batch) -> Callable[[], list[Any]]:
        """The step, to be taken: as `adapters.together`."""
        as_it_is = partial(together, calls, batch)
        if not self._records or not calls[0].is_recordable:
            return as_it_is
        key = calls[0].group, batch.shape
        if key not in self._known:
            return partial(self._ran, key, calls, batch)
        self._known.move_to_end(key)
        recording = None if key in self._unfit else self._known[key] or self._recorded(key, calls, batch)
        return partial(recording.replay, calls, batch) if recording else as_it_is

    def clear(self) -> bool:
        """Gives back their memory; whether there was any."""
        had = any(self._known.values())
        self._known.clear()
        self._unfit.clear()
        self._pool = None
        return had

    def _ran(self, key: Hashable, calls: Sequence[Call], batch: Batch) -> list[Any]:
        answers = together(calls, batch)
        self._keep(key, None)  # only now: a step that fails is no reason to record it
        return answers

    def _recorded(self, key: Hashable, calls: Sequence[Call], batch: Batch) -> Recording | None:
        ran = together(calls, batch)
        stream = torch.cuda.current_stream()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        try:
            recording = Recording(calls, batch, self._pool)
            _compare(ran, recording.replay(calls, batch))
        except Exception as error:  # noqa: BLE001  # whatever it is, the step as it is says it again or does not have it
            torch.cuda.set_stream(stream)  # some releases leave a recording that failed without going back to it
            self._unfit.add(key)
            self._records = isinstance(error, OtherBits) or is_out_of_memory(error)
            self._on_unrecorded(f"{type(error).__name__}: {error}"[:500])
            return None
        self._keep(key, recording)
        return recording

    def _keep(self, key: Hashable, recording: Recording | None) -> None:
        self._known[key] = recording
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            forgotten, _ = self._known.popitem(last=False)
            self._unfit.discard(forgotten)


class OtherBits(Exception):
    """Short of memory, cuDNN takes other kernels and says nothing."""


def _compare(ran: Sequence[Any], replayed: Sequence[Any]) -> None:
    pairs = (pair for one, other in zip(ran, replayed, strict=True) for pair in zip(one, other, strict=True))
    if not all(torch.equal(one, other) for one, other in pairs):
        raise OtherBits("the recorded step gave other bits than the step")
