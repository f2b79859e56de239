"""The model process: one image at a time, told through one socket; ends with its worker."""

import json
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.inference.backends.diffusion.confinement import limit_memory, withdraw
from services.inference.backends.diffusion.engine import Cancelled, Engine, Refused, is_out_of_memory
from services.inference.backends.diffusion.folder import Unloadable
from services.inference.backends.diffusion.wire import Connection

Answer = tuple[dict[str, Any], bytes]


def main(settings: dict[str, Any]) -> None:
    withdraw()
    warnings.simplefilter("ignore")
    connection = Connection(socket.socket(fileno=settings["fd"]))
    engine = Engine(
        Path(settings["models"]), device=settings["device"], dtype=settings["dtype"], threads=settings["threads"]
    )
    if settings["memory"] is not None:
        limit_memory(settings["memory"])
    connection.send({"is": "ready", "versions": engine.versions()})
    while (frame := connection.receive()) is not None:
        work = frame[0]
        if work["do"] == "generate":  # anything else is a cancel that crossed with the end of its image
            connection.send(*_answer(engine, connection, work))


def _answer(engine: Engine, connection: Connection, work: dict[str, Any]) -> Answer:
    try:
        return _make(engine, connection, work)
    except Cancelled:
        return {"is": "cancelled"}, b""
    except Refused as error:
        return _failed(error.reason, str(error), retriable=error.retriable)
    except Unloadable as error:
        return _failed("backend_unavailable", str(error), retriable=False)
    except OSError:
        raise  # the socket: the worker is gone
    except Exception as error:  # noqa: BLE001  # whatever a pipeline raises is this image's end, not the process's
        if not is_out_of_memory(error):
            return _failed("internal", f"{type(error).__name__} in the pipeline: {error}"[:500], retriable=True)
    # Outside the handler: the error's traceback holds the tensors that filled the memory.
    engine.drop()
    size = f"{work['width']} × {work['height']} px"
    return _failed("out_of_memory", f"{work['model']} at {size} needs more memory than there is", retriable=True)


def _make(engine: Engine, connection: Connection, work: dict[str, Any]) -> Answer:
    def stop_if_cancelled() -> None:
        if connection.is_cancelled(work["id"]):
            raise Cancelled

    def on_step(step: int, steps: int) -> None:
        connection.send({"is": "step", "step": step, "steps": steps})
        stop_if_cancelled()

    warm = engine.load(work["model"])
    connection.send({"is": "loaded"})
    stop_if_cancelled()
    image, manifest = engine.generate(warm, work, on_step=on_step)
    return {"is": "done", "manifest": manifest}, image


def _failed(reason: str, detail: str, *, retriable: bool) -> Answer:
    return {"is": "failed", "reason": reason, "detail": detail, "retriable": retriable}, b""


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError):
        main(json.loads(sys.argv[1]))
