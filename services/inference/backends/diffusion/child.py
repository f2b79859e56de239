"""The model process: one image at a time, told through one socket; no network, no secrets, ends with its worker."""

import json
import resource
import signal
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.inference.backends.diffusion.wire import Connection

# The kernel, short of memory, ends this process before the worker that holds the leases.
OOM_SCORE = "800"


def main(settings: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the worker decides when we end
    connection = Connection(socket.socket(fileno=settings["fd"]))
    _withdraw()
    from services.inference.backends.diffusion.engine import Engine

    engine = Engine(
        Path(settings["models"]), device=settings["device"], dtype=settings["dtype"], threads=settings["threads"]
    )
    if settings["memory"] is not None:
        _limit_memory(settings["memory"])
    connection.send({"is": "ready", "versions": engine.versions()})
    while (frame := connection.receive()) is not None:
        work = frame[0]
        if work["do"] == "generate":  # anything else is a cancel that crossed with the end of its image
            connection.send(*_answer(engine, connection, work))


def _answer(engine: Any, connection: Connection, work: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from services.inference.backends.diffusion import engine as rules
    from services.inference.backends.diffusion.folder import Unloadable

    def on_step(step: int, steps: int) -> None:
        connection.send({"is": "step", "step": step, "steps": steps})
        if connection.is_cancelled(work["id"]):
            raise rules.Cancelled

    try:
        warm = engine.load(work["model"])
        connection.send({"is": "loaded"})
        if connection.is_cancelled(work["id"]):
            return {"is": "cancelled"}, b""
        image, manifest = engine.generate(warm, work, on_step=on_step)
        return {"is": "done", "manifest": manifest}, image
    except rules.Cancelled:
        return {"is": "cancelled"}, b""
    except rules.Refused as error:
        return _failed(error.reason, str(error), retriable=error.retriable), b""
    except Unloadable as error:
        return _failed("backend_unavailable", str(error), retriable=False), b""
    except OSError:
        raise  # the socket: the worker is gone
    except Exception as error:  # noqa: BLE001  # whatever a pipeline raises is this image's end, not the process's
        if not rules.is_out_of_memory(error):
            return _failed("internal", f"{type(error).__name__} in the pipeline: {error}"[:500], retriable=True), b""
    # Outside the handler: the error's traceback holds the tensors that filled the memory.
    warm = None
    engine.drop()
    size = f"{work['width']} × {work['height']} px"
    return _failed("out_of_memory", f"{work['model']} at {size} needs more memory than there is", retriable=True), b""


def _failed(reason: str, detail: str, *, retriable: bool) -> dict[str, Any]:
    return {"is": "failed", "reason": reason, "detail": detail, "retriable": retriable}


def _limit_memory(beyond: int) -> None:
    """An image too large for its share fails as one allocation, before the whole machine is short of memory."""
    taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData:"))
    limit = int(taken.split()[1]) * 1024 + beyond
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _withdraw() -> None:
    """Model code reaches no network, even where a library forgets its own offline switch."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
            raise PermissionError("the model process has no network")

    sys.addaudithook(refuse)
    warnings.simplefilter("ignore")
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError):
        main(json.loads(sys.argv[1]))
