"""A child process that decodes, encodes and describes: an order and its pictures come in, what it made goes out.

It holds no address and no key but the invisible mark's, may not write files, and has limits of memory and of processor
time for decoding. A picture that breaks it breaks only it. What has to be signed it asks for in between: a message with
`sign` and the questions, which the next one answers.
"""

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from services.postprocess.finishing import finished
from services.postprocess.hooks import NO_MODELS, Models
from services.postprocess.memory import ran_out
from services.postprocess.model_files import ModelFile
from services.postprocess.operations import Equipment
from services.postprocess.orders import Developed, Order
from services.postprocess.recipes import develop
from services.postprocess.sitting import BadRecipe
from shared.confined import confine, hear, tell
from shared.errors import unreadable
from shared.pictures import Limits, Refused


def main() -> None:
    desk = Desk(sys.stdin.buffer, confine(memory_mb=int(sys.argv[1])))
    limits = Limits(seconds=float(sys.argv[2]))
    models = _models(*sys.argv[3:])
    while (asked := hear(desk.orders)) is not None:
        header, (original, *inputs) = asked
        key = bytes.fromhex(header["mark_key"]) or None
        equipment = Equipment(mark_key=key, models=models, fonts=header["fonts"])
        tell(desk.answers, *_answer(header, original, inputs, desk=desk, equipment=equipment, limits=limits))


class Desk:
    """Where orders come in and answers go out."""

    def __init__(self, orders: BinaryIO, answers: BinaryIO) -> None:
        self.orders = orders
        self.answers = answers

    def sign(self, questions: Sequence[bytes]) -> Sequence[bytes]:
        tell(self.answers, {"sign": True}, questions)
        answer = hear(self.orders)
        if answer is None:
            raise SystemExit  # the worker has died, or waits no more
        return answer[1]


def _models(told: str = "") -> Models:
    """The models that this process was started with. Their library is loaded only where there are any."""
    if not told:
        return NO_MODELS
    from services.postprocess.models import models  # noqa: PLC0415  # 50 MB of address space, an optional group

    asked = json.loads(told)
    files = {hook: ModelFile(Path(path), sha256) for hook, (path, sha256) in asked["files"].items()}
    return models(files, seconds=asked["seconds"])


def _answer(
    header: dict[str, Any],
    original: bytes,
    inputs: list[bytes],
    *,
    desk: Desk,
    equipment: Equipment,
    limits: Limits,
) -> tuple[dict[str, Any], list[bytes]]:
    try:
        developed = finished(
            original,
            Order.model_validate(header["order"]),
            develop=lambda let_in, order: develop(let_in, order, inputs, equipment=equipment, limits=limits),
            sign=desk.sign,
            limits=limits,
        )
    except ValidationError as error:
        return {"error": "recipe", "detail": f"the recipe cannot be read: {unreadable(error)}"}, []
    except Refused as refused:
        return {"error": refused.code, "detail": refused.what}, []
    except BadRecipe as error:
        return {"error": "recipe", "detail": str(error)}, []
    except Exception as error:  # noqa: BLE001  # a bug of ours: told to the worker, which is loud about it
        if ran_out(error):
            return {"error": "memory", "detail": "the picture needs more memory than a child process may take"}, []
        return {"error": "bug", "detail": traceback.format_exc()}, []
    return _told(developed), [made.data for made in developed.derivatives]


def _told(developed: Developed) -> dict[str, Any]:
    return {
        "original": developed.original._asdict(),
        "versions": developed.versions,
        "checks": [verdict.model_dump(mode="json") for verdict in developed.checks],
        "measures": developed.measures.model_dump(mode="json"),
        "unsigned": developed.unsigned,
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
                "unsigned_sha256": made.unsigned_sha256,
            }
            for made in developed.derivatives
        ],
    }


if __name__ == "__main__":
    main()
