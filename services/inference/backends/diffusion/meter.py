"""Seconds of a model's device, by what it did with them: what an image costs where nobody sends a bill."""

import time

from shared.observability import DEVICE_SECONDS


class Meter:
    """Of one model process after another. What is neither busy, loading nor idle went into encoding and decoding."""

    def __init__(self) -> None:
        self._device = ""
        self._idle_since: float | None = None

    def begins(self, device: str) -> None:
        self._device = device

    def stepped(self, model: str, seconds: float) -> None:
        self._add("busy", seconds, model)

    def loaded(self, model: str, seconds: float) -> None:
        self._add("loading", seconds, model)

    def rests(self) -> None:
        self._idle_since = time.monotonic()

    def tell_idle(self) -> None:
        if self._idle_since is not None:
            since, self._idle_since = self._idle_since, time.monotonic()
            self._add("idle", self._idle_since - since)

    def works(self) -> None:
        self.tell_idle()
        self._idle_since = None

    def _add(self, state: str, seconds: float, model: str = "") -> None:
        DEVICE_SECONDS.labels(self._device, model, state).inc(max(0.0, seconds))
