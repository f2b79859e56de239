"""Backends that call a provider: one call an attempt, by the words of the provider's own file."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled, Source
from services.inference.backends.answers import Answer, Refusal, cannot, failure_of, nothing_sent
from services.inference.backends.exchange import CONNECT_SECONDS, Exchange, Provider, Request, bearer
from services.inference.backends.vocabulary import Given, Wanted, unable
from shared.events import FailureReason
from shared.library.documents import Call
from shared.pictures import Limits, Refused, admitted

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A file as it came, what the manifest keeps of the words around it, and how many the provider made."""

    data: bytes
    said: Mapping[str, Any] = field(default_factory=dict)
    charges: int = 1


def refuse_what_is_beyond(work: Generation, *, who: str) -> None:
    """Raises BackendFailure for what backends of this kind have no words for: nothing is ever left out."""
    sources = [Given(role=source.role, size=(source.width, source.height)) for source in work.sources]
    wanted = Wanted(model=work.model, width=work.width, height=work.height, sources=sources)
    if (why := unable(who, wanted)) is not None:
        raise cannot(who, why)


def picture_and_mask(work: Generation) -> dict[str, Source]:
    """The one picture to start from and its mask, by the names that most providers have for them."""
    return {{"reference": "image"}.get(source.role, source.role): source for source in work.sources}


class ProviderBackend:
    """Calls the provider that a route names, out of `providers`. A provider's file says the rest."""

    name: str
    id_header = "x-request-id"

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)
        self._clients: dict[str, httpx.AsyncClient] = {}

    def request_of(self, work: Generation) -> Request:
        """What to send. Raises BackendFailure for what this provider cannot make."""
        raise NotImplementedError

    def opened_by(self, request: Request, provider: Provider) -> dict[str, str]:  # noqa: ARG002  # some sign it
        """The headers that carry the key, or a signature by it."""
        return bearer(provider)

    async def picture_of(self, exchange: Exchange, answer: Answer) -> Picture:
        """What an answer with success holds. Raises BackendFailure."""
        raise NotImplementedError

    def refusal_of(self, answer: Answer) -> Refusal:
        """What an answer without success says."""
        raise NotImplementedError

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        """One call; once it is sent a cancel waits for its answer, because the answer says what it cost."""
        call, provider = self._named(work)
        if cancelled():
            raise GenerationCancelled(billed=False)
        progress(0, 1)
        # A mask is encoded anew for some of them.
        request = await asyncio.to_thread(self.request_of, work)
        exchange = self._exchange(work, call, provider)
        made = await exchange.within(self._call(exchange, request), began=time.monotonic())
        progress(1, 1)
        return made

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        await asyncio.gather(*(client.aclose() for client in clients.values()))

    async def _call(self, exchange: Exchange, request: Request) -> Generated:
        answer = await exchange.send(request, opened_by=self.opened_by(request, exchange.provider))
        if not answer.is_success:
            raise self._refused(exchange, answer)
        return await self._generated(exchange, request, await self.picture_of(exchange, answer))

    def _refused(self, exchange: Exchange, answer: Answer) -> BackendFailure:
        who, request_id = exchange.call.provider, exchange.provider_request_id
        return failure_of(answer, self.refusal_of(answer), who=who, request_id=request_id)

    def _named(self, work: Generation) -> tuple[Call, Provider]:
        call = work.call
        if call is None or call.provider not in self._providers:
            raise nothing_sent(
                FailureReason.BACKEND_UNAVAILABLE,
                f"this worker has no provider {call.provider!r}" if call else "its route names no provider",
                remedy="an operator names it in CALOTYPE_PROVIDERS and in the route's `call`",
            )
        return call, self._providers[call.provider]

    def _exchange(self, work: Generation, call: Call, provider: Provider) -> Exchange:
        return Exchange(
            work=work,
            call=call,
            provider=provider,
            http=self._client(call.provider),
            id_header=self.id_header,
        )

    def _client(self, name: str) -> httpx.AsyncClient:
        if name not in self._clients:
            # A connection kept open may be closed by the server just as the next call is sent on it: that call would be
            # uncertain. A new one costs nothing beside an image.
            self._clients[name] = httpx.AsyncClient(
                limits=httpx.Limits(max_keepalive_connections=0),
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
                proxy=self._providers[name].proxy,
                trust_env=False,
            )
        return self._clients[name]

    async def _generated(self, exchange: Exchange, request: Request, picture: Picture) -> Generated:
        """The file stays as it came: its hash is the provider's, and the credentials signed into it stay whole."""
        work, who = exchange.work, exchange.call.provider
        try:
            facts = await asyncio.to_thread(admitted, picture.data, Limits())  # the checksums of a large one take long
        except Refused as refused:
            raise exchange.spoiled(f"what {who} made is refused as {refused.code}: {refused}") from refused
        if (facts.width, facts.height) != (work.width, work.height):
            wrong = f"{facts.width} × {facts.height} px and not {work.width} × {work.height}"
            raise exchange.spoiled(f"what {who} made is {wrong}")
        if picture.charges > 1:
            log.warning("provider.charged_more", provider=who, attempt=str(work.attempt_id), charges=picture.charges)
        manifest: dict[str, Any] = {
            "backend": self.name,
            "provider": who,
            "request": dict(request.told),
            "not_sent": sorted(request.not_sent),
            "seed_is_reproducible": request.is_seeded,
            **picture.said,
        }
        if work.sources:
            manifest["sources"] = [
                {"role": each.role, "sha256": hashlib.sha256(each.data).hexdigest()} for each in work.sources
            ]
        return Generated(
            image=picture.data,
            width=facts.width,
            height=facts.height,
            media_type=facts.media_type,
            manifest=manifest,
            charges=picture.charges,
        )
