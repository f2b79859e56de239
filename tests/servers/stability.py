"""A scripted Stability AI (v2beta): forms in, JSON out, with the script and the ledgers of `provider.py`.

Of its own: `moderation_200` (charged: blurred and said so), `moderation` (403), `402`.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from tests.servers.provider import CHARGED, Asked, Call, Handler, Headers, NotUnderstood, Provider, main

# Shape for shape, as core makes them smaller than life.
SIZES = {"1:1": (64, 64), "3:2": (96, 64), "2:3": (64, 96)}
PLACES = {
    f"/v2beta/stable-image/{place}" for place in ("generate/core", "generate/ultra", "generate/sd3", "edit/inpaint")
}
REFUSALS: Mapping[str, tuple[int, str]] = {
    "429": (429, "rate_limit_exceeded"),
    "429_retry_after": (429, "rate_limit_exceeded"),
    "429_date": (429, "rate_limit_exceeded"),
    "500": (500, "internal_error"),
    "503": (503, "internal_error"),
    "moderation": (403, "content_moderation"),
    "400": (400, "bad_request"),
    "401": (401, "unauthorized"),
    "402": (402, "payment_required"),
    "403": (403, "permission_denied"),
    "413": (413, "payload_too_large"),
    "422": (422, "unprocessable_entity"),
}


class Stability(Provider):
    charged = (*(choice for choice in CHARGED if choice not in {"url", "gone", "two_images"}), "moderation_200")
    refusals = REFUSALS
    prefix = ""

    @classmethod
    def handler(cls) -> type[Handler]:
        return StabilityHandler


class StabilityHandler(Handler):
    def asked(self, body: bytes) -> Asked:
        if self.path not in PLACES:
            raise NotUnderstood(404, "not_found")
        if not self.has_key():
            raise NotUnderstood(401, "unauthorized")
        form, files = self.form(body)
        place = self.path.rpartition("/")[2]
        needed = {"prompt"} if place == "inpaint" else {"prompt", "strength" if files else "aspect_ratio"}
        takes = {"prompt", "negative_prompt", "seed", "output_format", "aspect_ratio", "strength", "mode", "model"}
        if needed - form.keys() or form.keys() - takes or self.headers.get("accept") != "application/json":
            raise NotUnderstood(400, "bad_request")
        width, height = SIZES[form["aspect_ratio"]] if not files else (96, 64)  # as large as what the tests send
        return Asked(form.get("model", place), width, height, len(files), form["prompt"])

    def answer_of(self, call: Call) -> Any:
        image = base64.b64encode(self.provider.picture(call)).decode()
        if call.choice == "no_images":
            return {"finish_reason": "SUCCESS", "seed": 7}
        reason = "CONTENT_FILTERED" if call.choice == "moderation_200" else "SUCCESS"
        return {"image": image, "finish_reason": reason, "seed": 7}

    def say(self, *words: Any, headers: Headers = None) -> None:
        status, name = words
        said = {"id": "a1b2", "name": name, "errors": ["some-field: is required"]}
        self._send(status, json.dumps(said).encode(), "application/json", headers=headers)


if __name__ == "__main__":
    main(Stability)
