"""A child process that decodes and encodes: reads an order and its pictures from stdin, writes what it made to stdout.

It holds no address and no key but the invisible mark's, may not write files, and has limits of memory and of processor
time for decoding. A picture that breaks it breaks only it.

On the wire both ways: four bytes of length, a JSON header of that length, then the blobs whose sizes the header names.
"""

import json
import os
import resource
import struct
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from services.postprocess.hooks import NO_MODELS, Models
from services.postprocess.model_files import ModelFile
from services.postprocess.operations import Equipment
from services.postprocess.recipes import BadRecipe, Developed, Order, develop
from shared.pictures import Limits, Refused

LENGTH = struct.Struct("!I")
# Pixels yield to event loops: on a busy machine heartbeats and answers come first, derivatives a little later.
NICENESS = 5


def main() -> None:
    answers = _keep_stdout_clean()
    _confine(memory=int(sys.argv[1]) * 1024 * 1024)
    models = _models(*sys.argv[3:])
    limits = Limits(seconds=float(sys.argv[2]))
    while (asked := _read(sys.stdin.buffer)) is not None:
        header, original, inputs = asked
        key = bytes.fromhex(header["mark_key"]) or None
        equipment = Equipment(mark_key=key, models=models, fonts=header["fonts"])
        _write(answers, *_answer(header, original, inputs, equipment, limits))


def _models(told: str = "") -> Models:
    """The models that this process was started with. Their library is loaded only where there are any."""
    if not told:
        return NO_MODELS
    from services.postprocess.models import models  # noqa: PLC0415  # 50 MB of address space, an optional group

    asked = json.loads(told)
    files = {hook: ModelFile(Path(path), sha256) for hook, (path, sha256) in asked["files"].items()}
    return models(files, seconds=asked["seconds"])


def _answer(
    header: dict[str, Any], original: bytes, inputs: list[bytes], equipment: Equipment, limits: Limits
) -> tuple[dict[str, Any], list[bytes]]:
    try:
        order = Order.model_validate(header["order"])
        developed = develop(original, order, inputs, equipment=equipment, limits=limits)
    except ValidationError as error:
        return {"error": "recipe", "detail": f"the recipe cannot be read: {error}"}, []
    except Refused as refused:
        return {"error": refused.code, "detail": refused.what}, []
    except BadRecipe as error:
        return {"error": "recipe", "detail": str(error)}, []
    except MemoryError:
        return {"error": "memory", "detail": "the picture needs more memory than a child process may take"}, []
    except Exception:  # noqa: BLE001  # a bug of ours: told to the worker, which is loud about it
        return {"error": "bug", "detail": traceback.format_exc()}, []
    return _told(developed), [made.data for made in developed.derivatives]


def _told(developed: Developed) -> dict[str, Any]:
    return {
        "original": developed.original._asdict(),
        "versions": developed.versions,
        "measures": developed.measures.model_dump(mode="json"),
        "derivatives": [
            {
                "channel": made.channel,
                "rendition": made.rendition,
                "facts": made.facts._asdict(),
                "wanted_type": made.wanted_type,
                "wanted": made.wanted,
                "exact": made.exact,
                "max_bytes": made.max_bytes,
                "manifest": made.manifest,
                "verdicts": [verdict.model_dump(mode="json") for verdict in made.verdicts],
            }
            for made in developed.derivatives
        ],
    }


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes, list[bytes]] | None:
    """The next order, or None when the worker has closed its end, or has died."""
    start = stream.read(LENGTH.size)
    if len(start) < LENGTH.size:
        return None
    header = json.loads(stream.read(LENGTH.unpack(start)[0]))
    original, *inputs = (stream.read(size) for size in header["sizes"])
    whole = [len(original), *map(len, inputs)] == header["sizes"]
    return (header, original, inputs) if whole else None


def _write(stream: BinaryIO, header: dict[str, Any], blobs: list[bytes]) -> None:
    told = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
    stream.write(LENGTH.pack(len(told)) + told)
    stream.writelines(blobs)
    stream.flush()


def _keep_stdout_clean() -> BinaryIO:
    """Answers go to what stdout was; whatever a library prints goes to stderr and cannot garble them."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _confine(*, memory: int) -> None:
    os.nice(NICENESS)
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))


if __name__ == "__main__":
    main()
