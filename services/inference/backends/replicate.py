"""Backend `replicate`: predictions of Replicate's HTTP API, ordered once and asked for until they are over.

The order answers with an id, which is kept. Whoever takes the job over after that (its worker died, or was told to end)
goes on asking for the same prediction; nothing is ordered again. What any other answer means is said in `answers.py`.

- succeeded: the picture, fetched at once, since outputs are deleted after an hour.
- aborted, or failed before it began: it was never run, and is not billed.
- failed while it ran, canceled: its seconds may be on the bill. Uncertain.

Where its account has a webhook, word from there ends the wait between two looks; what is so is asked all the same.

Shapes: replicate.com/docs/reference/http (predictions.create, models.predictions.create, predictions.get),
…/docs/topics/predictions/lifecycle (states) and …/rate-limits ({"detail": "… resets in ~30s."}), …/docs/billing,
…/changelog/2025-10-16-prediction-deadlines (Cancel-After). The route's model is `owner/name`, or `owner/name:version`.
Each model has inputs of its own; these are the widespread names (stability-ai/sdxl), the optional ones only where the
route's `call.takes` says so.
"""

import asyncio
import base64
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import orjson

from services.inference.backends import Generated, Generation
from services.inference.backends.answers import Answer, Refusal, uncertain
from services.inference.backends.exchange import Exchange, Provider, Request, told, unasked
from services.inference.backends.openai import EXTRAS
from services.inference.backends.providers import Picture, ProviderBackend, picture_and_mask, refuse_what_is_beyond
from services.inference.backends.vocabulary import REPLICATE_MODEL
from shared.events import FailureReason
from shared.library.documents import Call

PREDICTION = re.compile(r"[A-Za-z0-9]{1,64}")
RESETS = re.compile(r"resets in ~?(\d{1,5})\s?s")
FILTERED = re.compile(r"NSFW|flagged as sensitive|\bE005\b")
OVER = frozenset({"succeeded", "failed", "canceled", "aborted"})
FIRST_LOOK, LAST_LOOK = 0.25, 2.0  # seconds between looks; 3,000 a minute are permitted to an account
SHORTEST = 5  # seconds, of Cancel-After

Wait = Callable[[UUID, float], Awaitable[None]]


async def _sleep(_: UUID, seconds: float) -> None:
    """Where nobody brings word."""
    await asyncio.sleep(seconds)


class ReplicateBackend(ProviderBackend):
    name = "replicate"
    id_header = ""  # its id stands in the body

    def __init__(self, providers: Mapping[str, Provider], *, wait: Wait = _sleep) -> None:
        super().__init__(providers)
        self._wait = wait

    async def resume(
        self, work: Generation, provider_request_id: str, *, progress: Callable[[int, int], None]
    ) -> Generated:
        """The image of a prediction that another worker ordered. Every doubt is about money: it was ordered."""
        call, provider = work.call, self._providers.get(work.call.provider) if work.call else None
        if call is None or provider is None or not PREDICTION.fullmatch(provider_request_id):
            words = "no worker here can ask for the prediction that was ordered"
            raise uncertain(FailureReason.BACKEND_UNAVAILABLE, words, provider_request_id)
        progress(0, 1)
        exchange = self._exchange(work, call, provider)
        exchange.sent, exchange.provider_request_id = True, provider_request_id
        made = await exchange.within(self._made(exchange, self.request_of(work), {}), began=None)
        progress(1, 1)
        return made

    def request_of(self, work: Generation) -> Request:
        refuse_what_is_beyond(work, who=self.name)
        model = REPLICATE_MODEL.fullmatch(work.model)
        assert model is not None, "nothing else is asked for"
        owner, name, version = model.groups()
        takes = work.call.takes if work.call else []
        asked = {"prompt": work.prompt, "width": work.width, "height": work.height}
        asked |= dict(EXTRAS[extra](work) for extra in takes)
        pictures = _pictures(work)
        strength = {"prompt_strength": work.strength} if pictures and work.strength is not None else {}
        body: dict[str, Any] = {"input": asked | pictures | strength} | ({"version": version} if version else {})
        if hook := self._hook(work):
            body |= {"webhook": hook, "webhook_events_filter": ["completed"]}
        deadline = max(SHORTEST, math.ceil(work.call.timeout_seconds if work.call else 0))
        return Request(
            path="/predictions" if version else f"/models/{owner}/{name}/predictions",
            content=orjson.dumps(body),
            headers={"Content-Type": "application/json", "Cancel-After": f"{deadline}s"},
            told={"model": work.model, **told(asked), **strength},
            not_sent=frozenset(EXTRAS) - set(takes) | unasked(work, {*asked, *(["strength"] if strength else [])}),
            is_seeded="seed" in takes,
            at_once=False,
        )

    def refusal_of(self, answer: Answer) -> Refusal:
        said = answer.document or {}
        detail = said.get("detail")
        pause = RESETS.search(detail) if isinstance(detail, str) else None
        return Refusal(own="detail" in said, pause=float(pause[1]) if pause else None)

    async def _call(self, exchange: Exchange, request: Request) -> Generated:
        answer = await exchange.send(request, opened_by=self.opened_by(request, exchange.provider))
        if not answer.is_success:
            raise self._refused(exchange, answer)
        ordered = answer.document or {}
        found = ordered.get("id")
        if not isinstance(found, str) or not PREDICTION.fullmatch(found):
            raise exchange.uncertain(f"{exchange.call.provider} took the order and named no prediction")
        exchange.keep_id(found)
        return await self._made(exchange, request, ordered)

    async def _made(self, exchange: Exchange, request: Request, prediction: Mapping[str, Any]) -> Generated:
        pause = FIRST_LOOK
        while prediction.get("status") not in OVER:
            if prediction:
                await self._wait(exchange.work.attempt_id, pause)
                pause = min(pause * 1.5, LAST_LOOK)
            answer = await exchange.ask(f"/predictions/{exchange.provider_request_id}")
            if not answer.is_success:
                raise exchange.uncertain(f"{exchange.call.provider} answered {answer.status} about its prediction")
            prediction = answer.document or {"status": "unread"}
        return await self._generated(exchange, request, await _picture(exchange, prediction))

    def _hook(self, work: Generation) -> str | None:
        provider = self._providers.get(work.call.provider) if work.call else None
        return f"{provider.webhook}/{work.attempt_id}" if provider and provider.webhook else None

    def _exchange(self, work: Generation, call: Call, provider: Provider) -> Exchange:
        exchange = super()._exchange(work, call, provider)
        exchange.can_resume = True
        return exchange


async def _picture(exchange: Exchange, prediction: Mapping[str, Any]) -> Picture:
    status, who = prediction["status"], exchange.call.provider
    if status != "succeeded":
        began = prediction.get("started_at") is not None and status != "aborted"
        filtered = FILTERED.search(str(prediction.get("error"))) is not None
        reason = FailureReason.CONTENT_FILTERED if filtered else FailureReason.BACKEND_UNAVAILABLE
        if filtered and not began:
            raise exchange.filtered(f"its prediction is {status}", billed=False)
        if began:
            failure = exchange.uncertain(f"{who} says its prediction is {status}", reason)
            failure.answered = True
            raise failure
        raise exchange.not_made(f"{who} says its prediction is {status} and was never run")
    exchange.made = True
    output = prediction.get("output")
    outputs = output if isinstance(output, list) else [output]
    if not outputs or not isinstance(outputs[0], str):
        gone = prediction.get("data_removed") is True
        raise exchange.spoiled("the picture is deleted there by now" if gone else "the answer holds no picture")
    return Picture(data=await _file(exchange, outputs[0]), charges=len(outputs))


async def _file(exchange: Exchange, address: str) -> bytes:
    if address.startswith("data:"):
        return exchange.decoded(address.partition("base64,")[2])
    return await exchange.fetch(address)


def _pictures(work: Generation) -> dict[str, str]:
    """As data URLs: Replicate advises them below 256 kB and takes them above."""
    return {
        name: f"data:{source.media_type};base64,{base64.b64encode(source.data).decode()}"
        for name, source in picture_and_mask(work).items()
    }
