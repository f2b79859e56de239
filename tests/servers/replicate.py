"""A scripted Replicate: predictions that are ordered, looked at, and over; script and ledgers are `provider.py`'s.

`hold` in the script keeps every prediction going until it is taken back. Of its own, charged: `runs` (for
`slow_seconds`), `failed` (while it ran), `nsfw`, `canceled`, `removed` (its output is deleted), `busy_looks` (looks
answer 429 and 500), `data_url`. Not charged: `failed_before`, `aborted`, `402`,
`422`. A prediction is charged when it is ordered.
"""

import base64
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from tests.servers.provider import CHARGED, Asked, Call, Handler, Headers, NotUnderstood, Provider, main

REFUSALS: Mapping[str, tuple[int, str]] = {
    "429": (429, "Request was throttled. Your rate limit resets in ~7s."),
    "429_retry_after": (429, "Request was throttled."),
    "429_date": (429, "Request was throttled."),
    "500": (500, "Internal server error"),
    "503": (503, "Service unavailable"),
    "401": (401, "You did not pass a valid authentication token"),
    "402": (402, "You have insufficient credit to run this model"),
    "404": (404, "The requested resource could not be found."),
    "422": (422, "Input validation failed"),
}
LATER = ("no_images", "wrong_image", "not_an_image", "cut_image", "gone", "two_images")
ENDS = {"failed": "failed", "nsfw": "failed", "canceled": "canceled", "failed_before": "failed", "aborted": "aborted"}

LATER_SECONDS = 0.5  # what a look is told that is answered 429


class Replicate(Provider):
    charged = (
        *("ok", "slow", "charge_then_hang", "charge_then_reset", "charge_then_502", "malformed", "empty", "cut_body"),
        *(*LATER, "page", "wrong_type", "failed", "nsfw", "canceled", "removed", "busy_looks", "data_url", "runs"),
    )
    refusals = REFUSALS
    assert set(charged) - set(CHARGED) == {"failed", "nsfw", "canceled", "removed", "busy_looks", "data_url", "runs"}

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.predictions: dict[str, Call] = {}
        self.ordered: dict[str, float] = {}
        self.looked: list[float] = []

    @classmethod
    def choices(cls) -> tuple[str, ...]:
        return (*super().choices(), "failed_before", "aborted")

    @classmethod
    def handler(cls) -> type[Handler]:
        return ReplicateHandler

    def prediction(self, call: Call, *, over: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"id": f"p{call.number:025d}", "status": "processing", "output": None, "error": None}
        if not over:
            return found | {"status": "starting", "started_at": None}
        found["started_at"] = None if call.choice in {"failed_before", "aborted"} else "2026-11-22T09:30:00.000Z"
        if (status := ENDS.get(call.choice)) is not None:
            words = "NSFW content detected. Try a different prompt." if call.choice == "nsfw" else "it broke"
            return found | {"status": status, "error": words}
        if call.choice == "removed":
            return found | {"status": "succeeded", "data_removed": True}
        if call.choice == "no_images":
            return found | {"status": "succeeded", "output": []}
        if call.choice == "data_url":
            output = f"data:image/png;base64,{base64.b64encode(self.picture(call)).decode()}"
            return found | {"status": "succeeded", "output": output}
        return found | {"status": "succeeded", "output": [self.publish(call)] * (call.charges or 1)}


class ReplicateHandler(Handler):
    id_header = None
    success = 201
    provider: Replicate

    def asked(self, body: bytes) -> Asked:
        place = re.fullmatch(r"/v1/(?:models/([\w.-]+/[\w.-]+)/)?predictions", self.path)
        if place is None:
            raise NotUnderstood(404, "not found")
        if not self.has_key():
            raise NotUnderstood(401, "Unauthenticated")
        if re.fullmatch(r"\d+s", self.headers.get("cancel-after", "")) is None:
            raise NotUnderstood(400, "this server wants to be told when to stop")
        asked = json.loads(body)
        given = asked["input"]
        if place[1] is None and "version" not in asked:
            raise NotUnderstood(422, "version is required")
        pictures = sum(str(given.get(name, "")).startswith("data:image/png;base64,") for name in ("image", "mask"))
        return Asked(place[1] or asked["version"], given["width"], given["height"], pictures, given["prompt"])

    def answer_of(self, call: Call) -> Any:
        found = self.provider.prediction(call, over=False)
        self.provider.predictions[found["id"]] = call
        self.provider.ordered[found["id"]] = time.monotonic()
        return found

    def do_GET(self) -> None:  # noqa: N802  # the name that http.server calls
        found = re.fullmatch(r"/v1/predictions/(\w+)", self.path)
        if found is None:
            super().do_GET()
            return
        call = self.provider.predictions.get(found[1])
        if not self.has_key() or call is None:
            self.say(404, "not found")
            return
        self.provider.looked.append(time.monotonic())
        if call.choice == "busy_looks" and (looks := len(self.provider.looked)) < 3:
            if looks == 1:
                self.say(429, "later", headers={"retry-after": str(LATER_SECONDS)})
            else:
                self.say(500, "broken")
            return
        script = self.provider.script
        runs = call.choice == "runs" and time.monotonic() < self.provider.ordered[found[1]] + script.slow_seconds
        self._json(200, self.provider.prediction(call, over=not (script.hold or runs)))

    def say(self, *words: Any, headers: Headers = None) -> None:
        status, detail = words
        self._send(
            status, json.dumps({"detail": detail, "status": status}).encode(), "application/json", headers=headers
        )


if __name__ == "__main__":
    main(Replicate)
