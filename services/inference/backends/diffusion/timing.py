"""How long a step took where it ran: by the clock on a CPU, by events of its stream on a GPU, so that nobody waits."""

import time

import torch


class Took:
    """One step of a batch, from here to `stop`."""

    def __init__(self, device: torch.device) -> None:
        self._events = None
        if device.type == "cuda":
            self._events = tuple(torch.cuda.Event(enable_timing=True, blocking=True) for _ in range(2))
            self._events[0].record()
        self._clock, self._work = time.monotonic(), time.thread_time()

    def stop(self) -> None:
        if self._events is not None:
            self._events[1].record()
        self._clock, self._work = time.monotonic() - self._clock, time.thread_time() - self._work

    @property
    def is_known(self) -> bool:
        """A GPU works behind the program that tells it what to do."""
        return self._events is None or bool(self._events[1].query())

    def wait(self) -> None:
        """Until the device is through with it."""
        if self._events is not None:
            self._events[1].synchronize()

    @property
    def seconds(self) -> float:
        """Of the device, waiting for the end of the step."""
        if self._events is None:
            return self._clock
        self.wait()
        return float(self._events[0].elapsed_time(self._events[1])) / 1000

    @property
    def effort(self) -> float:
        """What shapes are compared by, in seconds: on a CPU what its thread worked, for others take turns with it."""
        return self._work if self._events is None else self.seconds
