"""Crash points: where a fault test may end a process.

They stand before and after every send, offset commit, blob and call to the outside, and every commit that tells a fact
or notes what must be known of a call. Other notes (brakes, who is there, releases at an end, reroutings) have none.
Armed by the environment only: `CALOTYPE_CRASH=inference.call.after:3` ends an inference process with SIGKILL when it
comes to the point `call.after` for the third time. Unarmed, `crash_point` is a function that returns.
"""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

EVERY = frozenset({"intake", "prompt", "inference", "postprocess", "catalog", "publisher"})
WITH_DATABASE = EVERY - {"prompt"}
WITH_WORK = WITH_DATABASE

# Point → the stages that come to it. `before`: nothing of it is done; `after`: it is done, and nobody was told.
POINTS: Mapping[str, frozenset[str]] = {
    "publish.before": frozenset({"prompt"}),
    "publish.after": frozenset({"prompt"}),
    "commit.before": WITH_DATABASE,
    "commit.after": WITH_DATABASE,
    "offsets.before": EVERY,
    "offsets.after": EVERY,
    "outbox.before_send": WITH_DATABASE,
    "outbox.after_send": WITH_DATABASE,
    "outbox.after_delete": WITH_DATABASE,
    "sweep.before_send": WITH_DATABASE,
    "sweep.after_send": WITH_DATABASE,
    "dead_letter.before": EVERY,
    "dead_letter.after": EVERY,
    "claim.after": WITH_WORK,
    "renew.before": frozenset({"inference", "postprocess", "publisher"}),  # the others' work is over before
    "renew.after": frozenset({"inference", "postprocess", "publisher"}),
    "settle.before": WITH_WORK,
    "settle.after": WITH_WORK,
    "blob.before": frozenset({"intake", "inference", "postprocess"}),
    "blob.after": frozenset({"intake", "inference", "postprocess"}),
    "note.before": frozenset({"intake", "inference"}),
    "note.after": frozenset({"intake", "inference"}),
    "call.before": frozenset({"inference", "publisher"}),
    "call.after": frozenset({"inference", "publisher"}),
    "read_back.after": frozenset({"publisher"}),
    "replay.before": frozenset({"catalog"}),
    "replay.after": frozenset({"catalog"}),
}

_armed: dict[str, int] = {}
_log: Path | None = None
_stage = ""


class UnknownCrashPoint(ValueError):
    """An armed point does not exist, so a run would prove nothing: the process does not start."""


def arm(stage: str, asked: str, *, log: Path | None = None) -> None:
    """Arms this process with its part of `stage.point:n[,stage.point:n…]`; each hit is noted in `log` first.

    Raises:
        UnknownCrashPoint: a stage, a point or a count that is none.
    """
    global _stage, _log  # one process, one stage; and an unarmed point must cost nothing
    _armed.clear()
    _stage, _log = stage, log
    for part in filter(None, asked.split(",")):
        place, _, count = part.partition(":")
        name, _, point = place.partition(".")
        if name not in POINTS.get(point, ()) or not (count or "1").isdigit():
            raise UnknownCrashPoint(f"{part!r}: write stage.point:n with a point of shared/crash.py")
        if name == stage:
            _armed[point] = max(1, int(count or 1))


def crash_point(point: str) -> None:
    """Ends the process if the point is armed and this is the n-th time."""
    if _armed and point in _armed:
        _come_to(point)


def _come_to(point: str) -> None:
    _armed[point] -= 1
    if _armed[point] > 0:
        return
    if _log is not None:
        line = f"{time.time():.3f}\t{_stage}\t{point}\n"
        descriptor = os.open(_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, line.encode())
        os.close(descriptor)
    os.kill(os.getpid(), signal.SIGKILL)
