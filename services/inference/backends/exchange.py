"""A billed call over HTTP: what every provider's backend shares. One call an attempt; whoever tries again is the queue.

What came back decides what is booked, and whether the queue tries again:

- A whole picture of the asked size: succeeded, at the list price; at twice of it where the answer holds two.
- A success with anything else, or one that broke off: failed, `corrupt_output`, at the list price. Not tried again:
  what was paid for is not bought again unasked.
- A success that a page in HTML stands in for: something between us and the provider speaks. Uncertain.
- A refusal by the moderation: failed, `content_filtered`, not billed. Not tried again.
- 401, 402, 403, 404, a redirect, an empty account: `backend_unavailable`, not billed. Somebody has to act.
- 429: `backend_unavailable`, not billed, again after what Retry-After says, and no failure of the job.
- 408, 424: it was working on it. Uncertain.
- Other 4xx: `invalid_request`, not billed.
- 500, 503 in the provider's own words: it says that it made nothing. `backend_unavailable`, not billed, again.
- No connection: nothing was sent. `backend_unavailable`, not billed, again.
- Silence, a reset, a gateway's 5xx, the end of this process meanwhile: uncertain, and never again by itself.

Each provider's file says how it is asked, where its answers hold the picture, and by which words it refuses. A file's
type is what its bytes say: a picture that was paid for is not lost over its label.
"""

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import structlog

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.picture import NotAPicture, inspect
from shared.errors import Unavailable
from shared.events import FailureReason
from shared.library.documents import Call
from shared.retry import Backoff

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
KEEP_SECONDS = 2.0  # how long an answer that is here waits until the provider's id is written
MAX_PICTURE = 64 * 2**20
MAX_ANSWER = MAX_PICTURE * 4 // 3 + 2**20  # the same in base64, and words around it
MAX_REFUSAL = 64 * 2**10
LONGEST_PAUSE = 3600.0  # a server that wants more is not busy but away
PAYING = "an operator pays the provider, or raises its limit"
REMEDIES = {
    401: "an operator corrects the provider's key in CALOTYPE_PROVIDERS",
    402: PAYING,
    403: "an operator asks the provider what this key may do",
    404: "an operator corrects the provider's address in CALOTYPE_PROVIDERS, or the model in the route",
    429: PAYING,
}
WAITS = frozenset({408, 425, 429})  # with every 5xx: what a look that costs nothing is repeated after
UNSURE = frozenset({408, 424})
WORDS = frozenset({"prompt", "negative_prompt"})

FormPart = tuple[str, tuple[str | None, bytes, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where a provider is and what opens it: an operator's settings, so that no document can point elsewhere.

    `key_id`, `session` and `region` are for those that want requests signed.
    """

    url: str
    key: str = field(default="", repr=False)
    key_id: str | None = None
    session: str = field(default="", repr=False)
    region: str | None = None
    proxy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent: `content` or a form. `told` is what the manifest says of it: neither words nor pictures.

    `at_once`: a success means that the picture is made, and not only ordered.
    """

    path: str
    told: Mapping[str, Any]
    content: bytes = b""
    form: Sequence[FormPart] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    not_sent: frozenset[str] = frozenset()
    is_seeded: bool = False
    at_once: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def document(self) -> dict[str, Any] | None:
        """Its JSON object, whatever it calls itself; None where it is none."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return found if isinstance(found, dict) else None

    @property
    def is_page(self) -> bool:
        """Whether it is made for a browser, as proxies and gateways answer."""
        return "html" in self.headers.get("content-type", "") and self.document is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a provider's answer without success says. `own`: the provider itself speaks, by its own form of words.

    Only codes are told: sentences may quote the prompt or the key. `pause` in seconds, where the words name one.
    """

    own: bool = False
    codes: tuple[Any, ...] = ()
    detail: Any = None
    filtered: bool = False
    unpaid: bool = False
    pause: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A file as it came, what the manifest keeps of the words around it, and how many the provider made."""

    data: bytes
    said: Mapping[str, Any] = field(default_factory=dict)
    charges: int = 1


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One attempt with a provider, from connecting to a picture, and how far it came.

    `can_resume`: once the provider's id is kept, whoever takes the job over asks for it by that id.
    """

    work: Generation
    call: Call
    provider: Provider
    http: httpx.AsyncClient
    id_header: str
    can_resume: bool = False
    sent: bool = False
    made: bool = False
    provider_request_id: str | None = None
    _keeping: asyncio.Task[bool] | None = None

    async def within(self, calling: Coroutine[Any, Any, Generated], *, began: float | None) -> Generated:
        """The call's result within its time, with how long it took; None where another worker began it.

        Raises BackendFailure.
        """
        try:
            made = await self._ending_well(calling)
        except BackendFailure as failure:
            failure.latency_seconds = _since(began)
            raise
        return replace(made, latency_seconds=_since(began), provider_request_id=self.provider_request_id)

    async def _ending_well(self, calling: Coroutine[Any, Any, Generated]) -> Generated:
        try:
            async with asyncio.timeout(self.call.timeout_seconds):
                return await calling
        except TimeoutError:
            words = f"{self.call.provider} did not answer within {self.call.timeout_seconds:g} s"
            raise self._broken_off(words, FailureReason.MODEL_TIMEOUT) from None
        except httpx.RequestError as error:
            raise self._broken_off(f"{self.call.provider}: {type(error).__name__}") from error
        except asyncio.CancelledError:
            if self.can_resume and self.provider_request_id is not None and await self._is_kept():
                raise  # the next worker goes on with it
            # Only the end of the process cancels; what is known now is settled, or nobody would know it.
            raise self._broken_off("this process was told to end before the answer came") from None
        finally:
            if self._keeping is not None:
                await asyncio.wait({self._keeping}, timeout=KEEP_SECONDS)
                self._keeping.cancel()

    async def send(self, request: Request, *, opened_by: Mapping[str, str]) -> Answer:
        """The one call that may cost something; `opened_by` are the headers that carry the key."""
        streaming = self.http.stream(
            "POST",
            self.address(request.path),
            content=request.content or None,
            files=list(request.form) or None,
            headers={**request.headers, **opened_by, "X-Client-Request-Id": str(self.work.attempt_id)},
            extensions={"trace": self._notice},
        )
        async with streaming as response:
            self.keep_id(response.headers.get(self.id_header, ""))
            self.made = response.is_success and request.at_once
            return await _answer(response, MAX_ANSWER if response.is_success else MAX_REFUSAL)

    async def ask(self, path: str) -> Answer:
        """A look that costs nothing, repeated until it is answered or the call's time is over."""
        backoff = Backoff(ceiling=5.0)
        while True:
            with suppress(httpx.RequestError):
                async with self.http.stream("GET", self.address(path), headers=bearer(self.provider)) as response:
                    if not _waits(response.status_code):
                        return await _answer(response, MAX_ANSWER)
            await backoff.wait()

    async def fetch(self, address: str) -> bytes:
        """The picture is paid for and a GET is free: it is asked for until the call's time is over; without the key."""
        if urlsplit(address).scheme != "https" and _origin(address) != _origin(self.provider.url):
            raise self.spoiled("the picture lies at an address that is not https")
        backoff = Backoff(ceiling=5.0)
        while True:
            with suppress(httpx.RequestError):
                async with self.http.stream("GET", address) as response:
                    if response.is_success:
                        return (await _answer(response, MAX_PICTURE)).body
                    if not _waits(response.status_code):
                        raise self.spoiled(f"its picture's address answers {response.status_code}")
            await backoff.wait()

    def read(self, answer: Answer) -> dict[str, Any]:
        """The JSON object of a success. Raises BackendFailure."""
        if (found := answer.document) is not None:
            return found
        if answer.is_page:
            raise self.uncertain(f"{self.call.provider} answered {answer.status} with a page")
        raise self.spoiled("the answer cannot be read: it is not JSON")

    def decoded(self, words: str) -> bytes:
        try:
            return base64.b64decode(words, validate=True)
        except binascii.Error as error:
            raise self.spoiled("the picture is not base64") from error

    def keep_id(self, found: Any) -> None:
        """Beside the reading: a database that is away must not use up the call's time."""
        if isinstance(found, str) and found and found.isprintable():
            self.provider_request_id = found[:200]
            self._keeping = asyncio.create_task(_keep(self.work, self.provider_request_id))

    def address(self, path: str) -> str:
        return f"{self.provider.url.rstrip('/')}{path}"

    def uncertain(self, words: str, reason: FailureReason = FailureReason.BACKEND_UNAVAILABLE) -> BackendFailure:
        return uncertain(reason, words, self.provider_request_id)

    def spoiled(self, words: str) -> BackendFailure:
        """A success that is none: it was billed."""
        return BackendFailure(
            FailureReason.CORRUPT_OUTPUT,
            words,
            retriable=False,
            billed=True,
            provider_request_id=self.provider_request_id,
        )

    def filtered(self, words: str, *, billed: bool) -> BackendFailure:
        return BackendFailure(
            FailureReason.CONTENT_FILTERED,
            f"{self.call.provider}: {words}",
            retriable=False,
            billed=billed,
            provider_request_id=self.provider_request_id,
        )

    def not_made(self, words: str) -> BackendFailure:
        return BackendFailure(
            FailureReason.BACKEND_UNAVAILABLE,
            words,
            retriable=True,
            billed=False,
            provider_request_id=self.provider_request_id,
        )

    async def _is_kept(self) -> bool:
        if self._keeping is None:
            return True  # another worker kept it
        await asyncio.wait({self._keeping}, timeout=KEEP_SECONDS)
        return self._keeping.done() and not self._keeping.cancelled() and self._keeping.result()

    async def _notice(self, event: str, _: Any) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True

    def _broken_off(self, words: str, reason: FailureReason = FailureReason.BACKEND_UNAVAILABLE) -> BackendFailure:
        """The call ended before its picture was here: uncertain from the first byte sent to the first one heard."""
        if self.made:
            return self.spoiled(f"{words}; the picture was made and lost")
        if not self.sent:
            return nothing_sent(FailureReason.BACKEND_UNAVAILABLE, f"{words}; nothing was sent", retriable=True)
        return self.uncertain(words, reason)


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
            raise failure_of(answer, self.refusal_of(answer), exchange)
        return self._generated(exchange, request, await self.picture_of(exchange, answer))

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

    def _generated(self, exchange: Exchange, request: Request, picture: Picture) -> Generated:
        """The file stays as it came: its hash is the provider's, and the credentials signed into it stay whole."""
        work, who = exchange.work, exchange.call.provider
        try:
            facts = inspect(picture.data)
        except NotAPicture as error:
            raise exchange.spoiled(f"what {who} made is no picture: {error}") from error
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


def failure_of(answer: Answer, said: Refusal, exchange: Exchange) -> BackendFailure:
    """What an answer without success means for the job and its money: the table above."""
    status, who = answer.status, exchange.call.provider
    codes = [word for word in dict.fromkeys(_word(code) for code in said.codes) if word]
    words = " ".join([f"{who} answered {status}", *codes])
    given: dict[str, Any] = {"billed": False, "provider_request_id": exchange.provider_request_id}
    away = FailureReason.BACKEND_UNAVAILABLE
    if said.filtered:
        return BackendFailure(FailureReason.CONTENT_FILTERED, words, retriable=False, **given)
    if status == 429 and not said.unpaid:
        after = _retry_after(answer) if "retry-after" in answer.headers else said.pause
        return BackendFailure(away, words, retriable=True, busy=True, after=after, **given)
    if said.unpaid or status in REMEDIES or 300 <= status < 400:
        wrong_address = "an operator corrects the provider's address in CALOTYPE_PROVIDERS"
        remedy = PAYING if said.unpaid else REMEDIES.get(status, wrong_address)
        return BackendFailure(away, words, retriable=False, remedy=remedy, **given)
    if status in {500, 503} and said.own:
        return BackendFailure(away, words, retriable=True, after=_retry_after(answer), **given)
    if status >= 500 or status in UNSURE:
        # Something between us and the provider speaks, or it was at work: nobody knows what it did.
        return exchange.uncertain(words)
    detail = f"{words} {_word(said.detail)}".rstrip()
    return BackendFailure(FailureReason.INVALID_REQUEST, detail, retriable=False, **given)


def uncertain(reason: FailureReason, words: str, request_id: str | None) -> BackendFailure:
    return BackendFailure(
        reason,
        f"{words}; it may have been made and billed",
        retriable=False,
        uncertain=True,
        provider_request_id=request_id,
    )


def nothing_sent(
    reason: FailureReason, words: str, *, retriable: bool = False, remedy: str | None = None
) -> BackendFailure:
    return BackendFailure(reason, words, retriable=retriable, billed=False, remedy=remedy)


def cannot(who: str, what: str) -> BackendFailure:
    """For what a provider has no words for: said before anything is sent, and never left out."""
    return nothing_sent(FailureReason.INVALID_REQUEST, f"{who} cannot {what}")


def bearer(provider: Provider) -> dict[str, str]:
    return {"Authorization": f"Bearer {provider.key}"} if provider.key else {}


def told(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, for the manifest: the job's own manifest has the words already."""
    return {name: value for name, value in asked.items() if name not in WORDS}


def quality_unasked(work: Generation) -> frozenset[str]:
    """For providers that cannot be asked for a quality: the manifest says so where the route prices by one."""
    return frozenset({"quality"} if work.call and work.call.quality else ())


def part(name: str, value: Any) -> FormPart:
    return name, (None, str(value).encode(), None)


def file_part(name: str, data: bytes, media_type: str = "image/png") -> FormPart:
    return name, (f"{name.strip('[]')}.{media_type.rpartition('/')[2]}", data, media_type)


async def _keep(work: Generation, provider_request_id: str) -> bool:
    try:
        await work.keep_id(provider_request_id)
    except Unavailable:
        return False  # the settlement says it once more
    return True


async def _answer(response: httpx.Response, limit: int) -> Answer:
    """With the body; of one that is larger only the beginning, which is no answer."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > limit:
            break
    return Answer(response.status_code, response.headers, bytes(body[:limit]))


def _waits(status: int) -> bool:
    return status in WAITS or status >= 500


def _word(value: Any) -> str:
    """A code of the provider's, if it looks like one."""
    return value if isinstance(value, str) and len(value) <= 80 and value.replace("_", "").isalnum() else ""


def _retry_after(answer: Answer) -> float | None:
    """Seconds. A date is measured from the answer's own, so that no two clocks are compared (RFC 9110, 10.2.3)."""
    given = answer.headers.get("retry-after", "")
    try:
        seconds = float(given)
    except ValueError:
        try:
            until = parsedate_to_datetime(given)
            said_at = answer.headers.get("date")
            since = parsedate_to_datetime(said_at) if said_at else datetime.now(UTC)
            seconds = (until - since).total_seconds()
        except (ValueError, TypeError):  # no date, or one of the two without a zone
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE) if seconds == seconds else None  # noqa: PLR0124  # "nan" is a float


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


def _since(began: float | None) -> float | None:
    return None if began is None else round(time.monotonic() - began, 3)
