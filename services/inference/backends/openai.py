"""Backend `openai`: any server that speaks OpenAI's image API. What an answer means is said in `answers.py`.

There is neither a key that makes a second call harmless nor a way to look one up: what is uncertain goes to a person.
The provider finds the call by X-Client-Request-Id, which is the attempt's id, or by its own id if it got so far.

Shapes: platform.openai.com/docs/api-reference/images (`create`, `createEdit`) and …/guides/error-codes. An edit takes
its pictures as a form, the mask as the alpha channel of a picture; how far it may leave them cannot be said.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from services.inference.backends import Generation
from services.inference.backends.answers import Answer, Refusal
from services.inference.backends.exchange import Exchange, FormPart, Request, file_part, part, told, unasked
from services.inference.backends.masks import as_alpha
from services.inference.backends.providers import Picture, ProviderBackend, refuse_what_is_beyond

FILTERED = frozenset({"moderation_blocked", "content_policy_violation"})
# Parameters beyond OpenAI's, by the names vLLM-Omni and SGLang give them.
EXTRAS: Mapping[str, Callable[[Generation], tuple[str, Any]]] = {
    "seed": lambda work: ("seed", work.seed),
    "negative_prompt": lambda work: ("negative_prompt", work.negative_prompt),
    "steps": lambda work: ("num_inference_steps", work.steps),
    "guidance": lambda work: ("guidance_scale", work.guidance),
}


class OpenAIBackend(ProviderBackend):
    name = "openai"

    def request_of(self, work: Generation) -> Request:
        """What every such server takes, and of the rest what this one is said to take."""
        refuse_what_is_beyond(work, who=self.name)
        takes = work.call.takes if work.call else []
        asked = {"model": work.model, "prompt": work.prompt, "n": 1, "size": f"{work.width}x{work.height}"}
        asked |= dict(EXTRAS[name](work) for name in takes)
        if work.call and work.call.quality:
            asked["quality"] = work.call.quality
        given: dict[str, Any] = {
            "told": told(asked),
            "not_sent": frozenset(EXTRAS) - set(takes) | unasked(work, asked),
            "is_seeded": "seed" in takes,
        }
        if work.sources:
            form = [part(name, value) for name, value in asked.items()]
            return Request(path="/images/edits", form=form + _pictures(work), **given)
        headers = {"Content-Type": "application/json"}
        return Request(path="/images/generations", content=orjson.dumps(asked), headers=headers, **given)

    async def picture_of(self, exchange: Exchange, answer: Answer) -> Picture:
        images = exchange.read(answer).get("data")
        if not isinstance(images, list) or not images or not isinstance(images[0], dict):
            raise exchange.spoiled("the answer cannot be read: it holds no picture")
        first = images[0]
        revised = first.get("revised_prompt")
        said = {"revised_prompt": revised} if isinstance(revised, str) else {}
        if isinstance(encoded := first.get("b64_json"), str):
            return Picture(data=exchange.decoded(encoded), said=said, charges=len(images))
        if isinstance(address := first.get("url"), str):
            return Picture(data=await exchange.fetch(address), said=said, charges=len(images))
        raise exchange.spoiled("the answer holds no picture")

    def refusal_of(self, answer: Answer) -> Refusal:
        document = answer.document
        if document is None:
            return Refusal()
        error = document.get("error")
        found = error if isinstance(error, dict) else {}
        code, kind = found.get("code"), found.get("type")
        return Refusal(
            own=True,
            codes=(code, kind),
            detail=found.get("param"),
            filtered=answer.status == 400 and code in FILTERED,
            unpaid=answer.status == 429 and "insufficient_quota" in (code, kind),
        )


def _pictures(work: Generation) -> list[FormPart]:
    references = [each for each in work.sources if each.role == "reference"]
    masks = [each for each in work.sources if each.role == "mask"]
    name = "image" if len(references) == 1 else "image[]"
    parts = [file_part(name, each.data, each.media_type) for each in references]
    return parts + [file_part("mask", as_alpha(each.data)) for each in masks]
