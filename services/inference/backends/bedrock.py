"""Backend `bedrock`: Amazon Bedrock's InvokeModel, for Stability's and Amazon's image models. See `answers.py`.

Requests are signed (Signature Version 4) by botocore's own signer; its client, which sends again unasked, is not used.

Shapes: docs.aws.amazon.com/bedrock/latest/userguide, `model-parameters-diffusion-3-5-large`, `…-stable-image-core-…`
and `…-stable-ultra-…` (seeds, finish_reasons, images; "Filter reason: prompt" and the like are answered with 200), and
/nova/latest/userguide/image-gen-req-resp-structure (images, error; in a mask black is what changes). Errors are named
by x-amzn-errortype: …/userguide/troubleshooting-api-error-codes, …/APIReference/API_runtime_InvokeModel. What the
moderation took away after it was made is not said to be free: uncertain.
"""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from services.inference.backends import Generation
from services.inference.backends.answers import Answer, Refusal, nothing_sent
from services.inference.backends.exchange import Exchange, Provider, Request, told, unasked
from services.inference.backends.masks import inverted
from services.inference.backends.providers import Picture, ProviderBackend, picture_and_mask, refuse_what_is_beyond
from services.inference.backends.stability import STRENGTH, UNSAID, seed_of
from services.inference.backends.vocabulary import ratio_of
from shared.events import FailureReason

AMAZON_SEEDS = 858_993_460  # Nova Canvas: 0 … 858993459; Titan takes more
AMAZON_SAYS, AMAZON_UNSAID = frozenset({"negative_prompt", "quality"}), frozenset({"steps"})
NOT_MADE = frozenset({"Filter reason: prompt", "Filter reason: input image"})
FILTERED = "content filter"  # the words of Amazon's models, which answer 400 with ValidationException


class BedrockBackend(ProviderBackend):
    name = "bedrock"
    id_header = "x-amzn-requestid"

    def request_of(self, work: Generation) -> Request:
        refuse_what_is_beyond(work, who=self.name)
        stability = "stability." in work.model
        asked = _stability(work) if stability else _amazon(work)
        said = asked if stability else AMAZON_SAYS | ({"strength"} if "imageVariationParams" in asked else set())
        return Request(
            path=f"/model/{quote(work.model, safe='')}/invoke",
            content=orjson.dumps(asked),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            told={"model": work.model, **told(_without_pictures(asked))},
            not_sent=(UNSAID if stability else AMAZON_UNSAID) | unasked(work, said),
            is_seeded=True,
        )

    def opened_by(self, request: Request, provider: Provider) -> dict[str, str]:
        if not (provider.key_id and provider.key and provider.region):
            raise nothing_sent(
                FailureReason.BACKEND_UNAVAILABLE,
                "its provider has no key to sign with",
                remedy="an operator gives it key_id, key and region in CALOTYPE_PROVIDERS",
            )
        address = f"{provider.url.rstrip('/')}{request.path}"
        signed = AWSRequest(method="POST", url=address, data=request.content, headers=dict(request.headers))
        keys = Credentials(provider.key_id, provider.key, provider.session or None)
        SigV4Auth(keys, "bedrock", provider.region).add_auth(signed)
        return dict(signed.headers.items())

    async def picture_of(self, exchange: Exchange, answer: Answer) -> Picture:
        said = exchange.read(answer)
        reasons = [reason for reason in said.get("finish_reasons") or () if reason]
        if reasons:
            if set(reasons) <= NOT_MADE:
                raise exchange.filtered(str(reasons[0]), billed=False)
            filtered = "Filter reason" in str(reasons[0])
            reason = FailureReason.CONTENT_FILTERED if filtered else FailureReason.BACKEND_UNAVAILABLE
            raise exchange.uncertain(f"{exchange.call.provider}: {reasons[0]}"[:200], reason)
        images = said.get("images") or []
        if not images and said.get("error"):
            raise exchange.uncertain(f"{exchange.call.provider} kept its picture", FailureReason.CONTENT_FILTERED)
        if not isinstance(images, list) or not images or not isinstance(images[0], str):
            raise exchange.spoiled("the answer holds no picture")
        seeds = said.get("seeds")
        kept = {"seed_used": seeds[0]} if isinstance(seeds, list) and seeds else {}
        return Picture(data=exchange.decoded(images[0]), said=kept, charges=len(images))

    def refusal_of(self, answer: Answer) -> Refusal:
        kind = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
        message = str((answer.document or {}).get("message", ""))
        return Refusal(
            own=bool(kind),
            codes=(kind,),
            filtered=answer.status == 400 and FILTERED in message.lower(),
            unpaid=kind == "ServiceQuotaExceededException",
        )


def _stability(work: Generation) -> dict[str, Any]:
    asked: dict[str, Any] = {"prompt": work.prompt, "seed": seed_of(work), "output_format": "png"}
    if work.negative_prompt:
        asked["negative_prompt"] = work.negative_prompt
    pictures = {name: _base64(source.data) for name, source in picture_and_mask(work).items()}
    if not pictures:
        return asked | {"mode": "text-to-image", "aspect_ratio": ratio_of(work.width, work.height)}
    if "mask" not in pictures:
        asked |= {"mode": "image-to-image", "strength": STRENGTH if work.strength is None else work.strength}
    return asked | pictures


def _amazon(work: Generation) -> dict[str, Any]:
    words = {"text": work.prompt} | ({"negativeText": work.negative_prompt} if work.negative_prompt else {})
    references = [_base64(source.data) for source in work.sources if source.role == "reference"]
    masks = [_base64(inverted(source.data)) for source in work.sources if source.role == "mask"]
    if not references and not masks:
        task: dict[str, Any] = {"taskType": "TEXT_IMAGE", "textToImageParams": words}
    elif masks:
        change = {**words, "image": references[0], "maskImage": masks[0]}
        task = {"taskType": "INPAINTING", "inPaintingParams": change}
    else:
        near = 1 - (STRENGTH if work.strength is None else work.strength)
        like = {**words, "images": references, "similarityStrength": round(min(max(near, 0.2), 1.0), 3)}
        task = {"taskType": "IMAGE_VARIATION", "imageVariationParams": like}
    how: dict[str, Any] = {
        "width": work.width,
        "height": work.height,
        "cfgScale": min(max(work.guidance, 1.1), 10.0),
        "seed": work.seed % AMAZON_SEEDS,
        "numberOfImages": 1,
    }
    if work.call and work.call.quality:
        how["quality"] = work.call.quality
    return task | {"imageGenerationConfig": how}


def _without_pictures(asked: Mapping[str, Any]) -> dict[str, Any]:
    """For the manifest: neither words nor pictures, whose hashes it has beside this."""
    hidden = {"image", "mask", "textToImageParams", "inPaintingParams", "imageVariationParams"}
    return {name: value for name, value in asked.items() if name not in hidden}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
