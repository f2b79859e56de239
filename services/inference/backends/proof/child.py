"""The process that draws: one comp at a time, asked over its standard input; ends when that does.

Frames both ways are a JSON head behind its length; `bytes` in a head says how long each of the bodies after it is. At
every step it asks whether to go on and waits for the answer, so a cancelled comp ends at its next step.
"""

import json
import os
import struct
import sys
from typing import Any, BinaryIO

LENGTH = struct.Struct("!I")
# Drawing takes all it can get of a core: the worker that holds the leases goes first.
NICE = 5


class Stopped(Exception):
    """The worker does not want this comp any more."""


def main() -> None:
    asked, told = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between frames
    os.nice(NICE)
    from services.inference.backends.proof import render  # noqa: PLC0415  # numpy and Pillow live in this process alone

    def step(done: int, of: int) -> None:
        write(told, {"is": "step", "step": done, "steps": of})
        answer = read(asked)
        if answer is None:
            os._exit(0)  # the worker is gone
        if not answer["go"]:
            raise Stopped

    while (work := read(asked)) is not None:
        try:
            comp = render.render(
                work["scene"], seed=work["seed"], width=work["width"], height=work["height"], step=step
            )
        except Stopped:
            write(told, {"is": "stopped"})
        except MemoryError:
            write(told, {"is": "failed", "memory": True, "detail": f"{work['width']} × {work['height']} px"})
        except Exception as error:  # noqa: BLE001  # whatever it is, the worker hears of it and the process lives on
            write(told, {"is": "failed", "memory": False, "detail": f"{type(error).__name__}: {error}"[:500]})
        else:
            head = {"is": "done", "focal": comp.focal, "live_area": comp.live_area, "manifest": comp.manifest}
            write(told, head, comp.image, comp.mask)


def write(stream: BinaryIO, head: dict[str, Any], *bodies: bytes) -> None:
    encoded = json.dumps({**head, "bytes": [len(body) for body in bodies]}).encode()
    stream.write(LENGTH.pack(len(encoded)) + encoded)
    stream.writelines(bodies)
    stream.flush()


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next head, or None at the end of the stream."""
    length = stream.read(LENGTH.size)
    if len(length) < LENGTH.size:
        return None
    head: dict[str, Any] = json.loads(stream.read(LENGTH.unpack(length)[0]))
    return head


if __name__ == "__main__":
    main()
