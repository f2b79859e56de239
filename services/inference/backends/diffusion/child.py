"""The model process: told through one socket which images to make, says how each goes; ends with its worker."""

import json
import os
import socket
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.inference.backends.diffusion import lean  # noqa: F401  # first: before anything imports diffusers
from services.inference.backends.diffusion.confinement import limit_memory, withdraw
from services.inference.backends.diffusion.engine import Engine, Refused
from services.inference.backends.diffusion.folder import Unloadable
from services.inference.backends.diffusion.graphs import Graphs
from services.inference.backends.diffusion.loop import Loop
from services.inference.backends.diffusion.models import is_out_of_memory
from services.inference.backends.diffusion.rows import Cancelled, NoMemory, Row, Turn
from services.inference.backends.diffusion.wire import Connection

Answer = tuple[dict[str, Any], bytes]


def main(settings: dict[str, Any]) -> None:
    withdraw()
    warnings.simplefilter("ignore")
    connection = Connection(socket.socket(fileno=settings["fd"]))

    def on_load(name: str, seconds: float) -> None:
        connection.send({"is": "loaded", "model": name, "seconds": seconds})
        loop.hear(loop.loaded)

    def on_sketch(image: int, step: int, thumbnail: bytes) -> None:
        connection.send({"is": "sketch", "id": image, "step": step}, thumbnail)

    engine = Engine(
        Path(settings["models"]),
        device=settings["device"],
        dtype=settings["dtype"],
        threads=settings["threads"],
        warm=settings["warm"],
        on_load=on_load,
        on_sketch=on_sketch,
    )

    def make(row: Row) -> Answer:
        def on_step(step: int, steps: int) -> None:
            connection.send(
                {"is": "step", "id": row.id, "step": step, "steps": steps, "device_seconds": row.device_seconds}
            )

        return _answer(engine, row, on_step)

    def tell(row: Row, answer: Answer) -> None:
        head, body = answer
        connection.send(head | {"id": row.id, "device_seconds": row.device_seconds}, body)

    def on_unrecorded(why: str) -> None:
        connection.send({"is": "unrecorded", "why": why})

    graphs = Graphs(wanted=settings["graphs"], on_unrecorded=on_unrecorded)
    loop = Loop(make, tell, engine.free, size=settings["images"], shares=settings["shares"], graphs=graphs)
    if settings["memory"] is not None:
        limit_memory(settings["memory"])
    threading.Thread(target=_listen, args=(connection, loop), daemon=True).start()
    connection.send({"is": "ready", "versions": engine.versions(), "device": engine.device})
    loop.run()


def _listen(connection: Connection, loop: Loop) -> None:
    with suppress(OSError):
        while (frame := connection.receive()) is not None:
            work, pictures = frame
            if work["do"] == "generate":
                loop.submit(work["id"], work | {"pictures": pictures})
            else:
                loop.cancel(work["id"])
    os._exit(0)  # the worker is gone: nobody wants what is being made


def _answer(engine: Engine, row: Row, on_step: Any) -> Answer:
    answer = _made(engine, row, on_step)
    if answer is not None:
        return answer
    # Once more, and nothing else runs meanwhile. Outside the handler: a traceback holds what filled the memory.
    row.leave()
    try:
        row.ask(Turn())
    except Cancelled:
        return {"is": "cancelled"}, b""
    row.is_alone = True
    row.enter(row.loop.decoding)
    row.begin_anew()
    row.loop.free()
    shared = row.loop.is_beside_another_model(row)
    answer = _made(engine, row, on_step)
    if answer is not None:
        return answer
    row.loop.free()
    shared = shared or row.loop.is_beside_another_model(row)
    there = "there is beside another model" if shared else "there is"
    said = f"{row.work['model']} at {row.work['width']} × {row.work['height']} px needs more memory than {there}"
    return _failed("out_of_memory", said, retriable=shared, shared=shared)


def _made(engine: Engine, row: Row, on_step: Any) -> Answer | None:
    """None where memory did not suffice."""
    try:
        image, manifest = engine.make(row, on_step=on_step)
    except Cancelled:
        return {"is": "cancelled"}, b""
    except Refused as error:
        return _failed(error.reason, str(error), retriable=error.retriable)
    except Unloadable as error:
        return _failed("backend_unavailable", str(error), retriable=False)
    except Exception as error:  # noqa: BLE001  # whatever a pipeline raises is this image's end, not the process's
        lacked = isinstance(error, NoMemory) or is_out_of_memory(error)
        said = f"{type(error).__name__} in the pipeline: {error}"[:500]
        return None if lacked else _failed("internal", said, retriable=True)
    return {"is": "done", "manifest": manifest}, image


def _failed(reason: str, detail: str, *, retriable: bool, shared: bool = False) -> Answer:
    return {"is": "failed", "reason": reason, "detail": detail, "retriable": retriable, "shared": shared}, b""


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError):
        main(json.loads(sys.argv[1]))
