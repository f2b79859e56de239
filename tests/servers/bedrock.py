"""A scripted Bedrock runtime: Stability's and Amazon's image models, behind a signature that is computed here by hand.

Of its own: `moderation_200` (not made: the prompt), `moderation` (400, as Amazon's models say it), `quota` (400); and
charged: `moderation_made` (the picture is withheld), `inference_error` (200), `timeout` (408), `model_error` (424).
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from tests.servers.provider import CHARGED, Asked, Call, Handler, Headers, NotUnderstood, Provider, main

KEY_ID, SECRET, REGION = "AKIATEST", "a secret of the tests", "eu-test-1"
SIZES = {"1:1": (64, 64), "3:2": (96, 64)}
REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "429": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "429_retry_after": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "429_date": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "500": (500, "InternalServerException", "The system encountered an unexpected error."),
    "503": (503, "ServiceUnavailableException", "The service isn't currently available."),
    "moderation": (400, "ValidationException", "This request has been blocked by our content filters."),
    "400": (400, "ValidationException", "Malformed input request."),
    "quota": (400, "ServiceQuotaExceededException", "Your request exceeds the service quota."),
    "403": (403, "AccessDeniedException", "You don't have access to the model."),
    "404": (404, "ResourceNotFoundException", "This model version has reached the end of its life."),
    "timeout": (408, "ModelTimeoutException", "The request took too long to process."),
    "model_error": (424, "ModelErrorException", "The request failed due to an error while processing the model."),
}


class Bedrock(Provider):
    charged = (
        *(choice for choice in CHARGED if choice not in {"url", "gone"}),
        *("moderation_made", "inference_error", "timeout", "model_error"),
    )
    refusals = REFUSALS
    prefix = ""

    @classmethod
    def choices(cls) -> tuple[str, ...]:
        return (*super().choices(), "moderation_200")

    @classmethod
    def handler(cls) -> type[Handler]:
        return BedrockHandler


class BedrockHandler(Handler):
    id_header = "x-amzn-requestid"

    def asked(self, body: bytes) -> Asked:
        place = re.fullmatch(r"/model/([^/]+)/invoke", self.path)
        if place is None:
            raise NotUnderstood(404, "ResourceNotFoundException", "no such operation")
        if not self._is_signed(body):
            raise NotUnderstood(403, "InvalidSignatureException", "The request signature we calculated does not match")
        asked, model = json.loads(body), unquote(place[1])
        if "amazon." in model:
            config = asked["imageGenerationConfig"]
            pictures = sum(name in body.decode() for name in ('"images"', '"image"', '"maskImage"'))
            (words,) = (params["text"] for name, params in asked.items() if name.endswith("Params"))
            return Asked(model, config["width"], config["height"], pictures, words)
        width, height = SIZES[asked["aspect_ratio"]] if "aspect_ratio" in asked else (96, 64)
        return Asked(model, width, height, ("image" in asked) + ("mask" in asked), asked["prompt"])

    def answer_of(self, call: Call) -> Any:
        amazon = "amazon." in call.model
        if call.choice in {"moderation_200", "moderation_made", "inference_error"}:
            if amazon:
                return {"images": [], "error": "The generated image(s) have been blocked by our content filters."}
            reason = {"moderation_200": "prompt", "moderation_made": "output image"}.get(call.choice)
            return {"finish_reasons": [f"Filter reason: {reason}" if reason else "Inference error"]}
        image = base64.b64encode(self.provider.picture(call)).decode()
        images = [] if call.choice == "no_images" else [image] * (call.charges or 1)
        return {"images": images} if amazon else {"images": images, "seeds": [7], "finish_reasons": [None]}

    def say(self, *words: Any, headers: Headers = None) -> None:
        status, kind, message = words
        named = {"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/coral/", **(headers or {})}
        self._send(status, json.dumps({"message": message}).encode(), "application/json", headers=named)

    def _is_signed(self, body: bytes) -> bool:
        """Signature Version 4, from AWS's description of it (IAM user guide, "Create a signed AWS API request")."""
        given = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\S+?)/(\d{8})/(\S+?)/(\S+?)/aws4_request, "
            r"SignedHeaders=(\S+), Signature=(\w+)",
            self.headers.get("authorization", ""),
        )
        if given is None or given[1] != KEY_ID or given[3] != REGION or given[4] != "bedrock":
            return False
        names = given[5].split(";")
        if not {"host", "x-amz-date", "content-type"} <= set(names):
            return False
        lines = "".join(f"{name}:{' '.join(self.headers.get(name, '').split())}\n" for name in names)
        path = quote(self.path, safe="/~")  # encoded once more, as for every service but S3
        canonical = "\n".join(["POST", path, "", lines, given[5], hashlib.sha256(body).hexdigest()])
        scope = f"{given[2]}/{REGION}/bedrock/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = "\n".join(["AWS4-HMAC-SHA256", self.headers.get("x-amz-date", ""), scope, digest])
        key = f"AWS4{SECRET}".encode()
        for word in (given[2], REGION, "bedrock", "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        return hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), given[6])


if __name__ == "__main__":
    main(Bedrock)
