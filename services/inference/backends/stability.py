"""Backend `stability`: Stability AI's REST API, v2beta. What an answer means is said in `answers.py`.

The route's model is `core`, `ultra`, or one of the sd3 family by its name (`sd3.5-large`). It makes shapes, not sizes:
the route's `call.sizes` says which sizes those are, and a picture of another one is not taken.

Shapes: platform.stability.ai/docs/api-reference, as mirrored in api-evangelist/stability-ai and in the typings that
tadasant/mcp-server-stability-ai generated from the official document (2025-06). Always a form. With `Accept:
application/json` a success is {image, finish_reason, seed}; CONTENT_FILTERED is "a successful generation" that was
blurred, so it is billed. A refusal is {id, name, errors}; 403 with `content_moderation` is one by the moderation and
not billed. More than 150 requests in 10 seconds are refused for a minute.
"""

from typing import Any

from services.inference.backends import Generation
from services.inference.backends.answers import Answer, Refusal
from services.inference.backends.exchange import Exchange, FormPart, Request, file_part, part, told, unasked
from services.inference.backends.providers import Picture, ProviderBackend, picture_and_mask, refuse_what_is_beyond
from services.inference.backends.vocabulary import ratio_of

SEEDS = 2**32 - 1  # 0 … 4294967294
STRENGTH = 0.8  # where nobody says: diffusers' own
BUSY_SECONDS = 60.0
UNSAID = frozenset({"steps", "guidance"})


class StabilityBackend(ProviderBackend):
    name = "stability"

    def request_of(self, work: Generation) -> Request:
        refuse_what_is_beyond(work, who=self.name)
        place, asked = _asked(work)
        asked |= {"prompt": work.prompt, "seed": seed_of(work), "output_format": "png"}
        if work.negative_prompt and not work.model.endswith("turbo"):
            asked["negative_prompt"] = work.negative_prompt
        form: list[FormPart] = [part(name, value) for name, value in asked.items()]
        form += [file_part(name, source.data, source.media_type) for name, source in picture_and_mask(work).items()]
        return Request(
            path=f"/v2beta/stable-image/{place}",
            form=form,
            headers={"Accept": "application/json"},
            told={"place": place, **told(asked)},
            not_sent=UNSAID | unasked(work, asked),
            is_seeded=True,
        )

    async def picture_of(self, exchange: Exchange, answer: Answer) -> Picture:
        said = exchange.read(answer)
        if said.get("finish_reason") == "CONTENT_FILTERED":
            raise exchange.filtered("its moderation blurred the picture", billed=True)
        if not isinstance(image := said.get("image"), str):
            raise exchange.spoiled("the answer holds no picture")
        return Picture(data=exchange.decoded(image), said={"seed_used": said.get("seed")})

    def refusal_of(self, answer: Answer) -> Refusal:
        name = (answer.document or {}).get("name")
        return Refusal(
            own=isinstance(name, str),
            codes=(name,),
            filtered=answer.status == 403 and name == "content_moderation",
            pause=BUSY_SECONDS,
        )


def _asked(work: Generation) -> tuple[str, dict[str, Any]]:
    """Where to ask and with what, beside the words."""
    roles = {source.role for source in work.sources}
    if "mask" in roles:
        return "edit/inpaint", {}
    strength = STRENGTH if work.strength is None else work.strength
    shape = {"aspect_ratio": ratio_of(work.width, work.height)}
    if work.model == "core":
        return "generate/core", shape
    if work.model == "ultra":
        return "generate/ultra", {"strength": strength} if roles else shape
    if roles:
        return "generate/sd3", {"model": work.model, "mode": "image-to-image", "strength": strength}
    return "generate/sd3", {"model": work.model, "mode": "text-to-image", **shape}


def seed_of(work: Generation) -> int:
    """0 asks for one by chance."""
    return work.seed % SEEDS or 1
