"""Backend `openai`: any server that speaks OpenAI's image API. One call an attempt; whoever tries again is the queue.

What came back decides what is booked, and whether the queue tries again:

- A whole picture of the asked size: succeeded, at the list price.
- A success with anything else, or one that broke off: failed, `corrupt_output`, at the list price. Not tried again:
  what was paid for is not bought again unasked.
- 400 by the moderation: failed, `content_filtered`, not billed. Not tried again.
- 401, 402, 403, 404, a redirect, 429 for an empty account: `backend_unavailable`, not billed. Somebody has to act.
- Other 4xx: `invalid_request`, not billed.
- 429: `backend_unavailable`, not billed, again after what Retry-After says.
- 500, 503 in the server's own JSON: it says that it made nothing. `backend_unavailable`, not billed, again.
- No connection: nothing was sent. `backend_unavailable`, not billed, again.
- Silence, a reset, a gateway's 5xx, the end of this process meanwhile: uncertain, and never again by itself.

There is neither a key that makes a second call harmless nor a way to look one up: what is uncertain goes to a person.
The provider finds the call by X-Client-Request-Id, which is the attempt's id, or by its own id if it got so far.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
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
FILTERED = frozenset({"moderation_blocked", "content_policy_violation"})
# Parameters beyond OpenAI's, by the names vLLM-Omni and SGLang give them.
EXTRAS: Mapping[str, Callable[[Generation], tuple[str, Any]]] = {
    "seed": lambda work: ("seed", work.seed),
    "negative_prompt": lambda work: ("negative_prompt", work.negative_prompt),
    "steps": lambda work: ("num_inference_steps", work.steps),
    "guidance": lambda work: ("guidance_scale", work.guidance),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where a provider is and what opens it: an operator's settings, so that no document can point elsewhere."""

    url: str
    key: str = field(default="", repr=False)
    proxy: str | None = None


class OpenAIBackend:
    """Calls the provider that a route names, out of `providers`."""

    name = "openai"

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        """One call; once it is sent a cancel waits for its answer, because the answer says what it cost."""
        call = work.call
        if call is None or call.provider not in self._providers:
            raise _unusable(
                f"this worker has no provider {call.provider!r}" if call else "its route names no provider",
                remedy="an operator names it in CALOTYPE_PROVIDERS and in the route's `call`",
            )
        if cancelled():
            raise GenerationCancelled(billed=False)
        progress(0, 1)
        asked = request_of(work, call)
        exchange = Exchange(work, call, self._providers[call.provider], self._client(call.provider))
        picture, said = await exchange.run(asked)
        progress(1, 1)
        return _generated(work, call, asked, picture, said, provider_request_id=exchange.provider_request_id)

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        await asyncio.gather(*(client.aclose() for client in clients.values()))

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


def request_of(work: Generation, call: Call) -> dict[str, Any]:
    """The body: what every such server takes, and of the rest what this one is said to take."""
    asked = {"model": work.model, "prompt": work.prompt, "n": 1, "size": f"{work.width}x{work.height}"}
    if call.quality:
        asked["quality"] = call.quality
    return asked | dict(EXTRAS[name](work) for name in call.takes)


@dataclass(slots=True)
class Exchange:
    """One call, from connecting to a picture, and how far it came."""

    work: Generation
    call: Call
    provider: Provider
    http: httpx.AsyncClient
    sent: bool = False
    accepted: bool = False
    provider_request_id: str | None = None
    _keeping: asyncio.Task[None] | None = None

    async def run(self, asked: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
        """The picture, and what was said beside it. Raises BackendFailure."""
        try:
            async with asyncio.timeout(self.call.timeout_seconds):
                return await self._post(asked)
        except TimeoutError:
            words = f"{self.call.provider} did not answer within {self.call.timeout_seconds:g} s"
            raise self._broken_off(words, FailureReason.MODEL_TIMEOUT) from None
        except httpx.RequestError as error:
            raise self._broken_off(f"{self.call.provider}: {type(error).__name__}") from error
        except asyncio.CancelledError:
            # Only the end of the process cancels; what is known now is settled, or nobody would know it.
            raise self._broken_off("this process was told to end before the answer came") from None
        finally:
            if self._keeping is not None:
                await asyncio.wait({self._keeping}, timeout=KEEP_SECONDS)
                self._keeping.cancel()

    async def _post(self, asked: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
        request = self.http.stream(
            "POST",
            f"{self.provider.url.rstrip('/')}/images/generations",
            content=orjson.dumps(asked),
            headers=self._headers(),
            extensions={"trace": self._notice},
        )
        async with request as response:
            self._keep_id(response)
            if not response.is_success:
                raise refusal(response, await _read(response, MAX_REFUSAL), self.call, self.provider_request_id)
            self.accepted = True
            body = await _read(response, MAX_ANSWER)
        try:
            said = _first_image(body)
        except ValueError as error:
            raise self._spoiled(f"the answer cannot be read: {_in_short(error)}") from error
        return await self._picture(said), said

    async def _picture(self, said: Mapping[str, Any]) -> bytes:
        if isinstance(encoded := said.get("b64_json"), str):
            try:
                return base64.b64decode(encoded, validate=True)
            except binascii.Error as error:
                raise self._spoiled("the picture is not base64") from error
        if isinstance(address := said.get("url"), str):
            return await self._fetch(address)
        raise self._spoiled("the answer holds no picture")

    async def _fetch(self, address: str) -> bytes:
        """The picture is paid for and a GET is free: it is asked for until the call's time is over."""
        if urlsplit(address).scheme != "https" and _origin(address) != _origin(self.provider.url):
            raise self._spoiled("the picture lies at an address that is not https")
        backoff = Backoff(ceiling=5.0)
        while True:
            with suppress(httpx.RequestError):
                async with self.http.stream("GET", address) as response:
                    if response.is_success:
                        return await _read(response, MAX_PICTURE)
                    if response.status_code < 500:
                        raise self._spoiled(f"its picture's address answers {response.status_code}")
            await backoff.wait()

    def _keep_id(self, response: httpx.Response) -> None:
        """Beside the reading: a database that is away must not use up the call's time."""
        found = response.headers.get("x-request-id", "")[:200]
        if found and found.isprintable():
            self.provider_request_id = found
            self._keeping = asyncio.create_task(_keep(self.work, found))

    async def _notice(self, event: str, _: Any) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "X-Client-Request-Id": str(self.work.attempt_id)}
        return headers | ({"Authorization": f"Bearer {self.provider.key}"} if self.provider.key else {})

    def _broken_off(self, words: str, reason: FailureReason = FailureReason.BACKEND_UNAVAILABLE) -> BackendFailure:
        """The call ended before its picture was here: uncertain from the first byte sent to the first one heard."""
        if self.accepted:
            return self._spoiled(f"{words}; the picture was made and lost")
        if not self.sent:
            detail = f"{words}; nothing was sent"
            return BackendFailure(FailureReason.BACKEND_UNAVAILABLE, detail, retriable=True, billed=False)
        return uncertain(reason, words, self.provider_request_id)

    def _spoiled(self, words: str) -> BackendFailure:
        return spoiled(words, self.provider_request_id)


def refusal(response: httpx.Response, body: bytes, call: Call, request_id: str | None) -> BackendFailure:
    """What an answer without success means. Only its codes are told: its sentences may quote the prompt or the key."""
    status, error = response.status_code, _error_of(body)
    code, kind = _word(error and error.get("code")), _word(error and error.get("type"))
    words = f"{call.provider} answered {status}" + "".join(f" {word}" for word in dict.fromkeys((code, kind)) if word)
    given: dict[str, Any] = {"billed": False, "provider_request_id": request_id}
    if status == 400 and code in FILTERED:
        return BackendFailure(FailureReason.CONTENT_FILTERED, words, retriable=False, **given)
    if status == 429 and "insufficient_quota" not in (code, kind):
        after = _retry_after(response)
        return BackendFailure(FailureReason.BACKEND_UNAVAILABLE, words, retriable=True, after=after, busy=True, **given)
    if status in REMEDIES or response.is_redirect:
        remedy = REMEDIES.get(status, "an operator corrects the provider's address in CALOTYPE_PROVIDERS")
        return BackendFailure(FailureReason.BACKEND_UNAVAILABLE, words, retriable=False, remedy=remedy, **given)
    if status < 500:
        detail = f"{words} {_word(error and error.get('param'))}".rstrip()
        return BackendFailure(FailureReason.INVALID_REQUEST, detail, retriable=False, **given)
    if status in {500, 503} and error is not None:
        after = _retry_after(response)
        return BackendFailure(FailureReason.BACKEND_UNAVAILABLE, words, retriable=True, after=after, **given)
    # Something between us and the server speaks, and does not know what the server did.
    return uncertain(FailureReason.BACKEND_UNAVAILABLE, words, request_id)


REMEDIES = {
    401: "an operator corrects the provider's key in CALOTYPE_PROVIDERS",
    402: "an operator pays the provider, or raises its limit",
    403: "an operator asks the provider what this key may do",
    404: "an operator corrects the provider's address in CALOTYPE_PROVIDERS, or the model in the route",
    429: "an operator pays the provider, or raises its limit",
}


def uncertain(reason: FailureReason, words: str, request_id: str | None) -> BackendFailure:
    return BackendFailure(
        reason,
        f"{words}; it may have been made and billed",
        retriable=False,
        uncertain=True,
        provider_request_id=request_id,
    )


def spoiled(words: str, request_id: str | None) -> BackendFailure:
    """A success that is none: it was billed."""
    reason = FailureReason.CORRUPT_OUTPUT
    return BackendFailure(reason, words, retriable=False, billed=True, provider_request_id=request_id)


def _unusable(words: str, *, remedy: str) -> BackendFailure:
    reason = FailureReason.BACKEND_UNAVAILABLE
    return BackendFailure(reason, words, retriable=False, billed=False, remedy=remedy)


def _generated(
    work: Generation,
    call: Call,
    asked: Mapping[str, Any],
    picture: bytes,
    said: Mapping[str, Any],
    *,
    provider_request_id: str | None,
) -> Generated:
    """The file stays as it came: its hash is the provider's, and the credentials signed into it stay whole."""
    try:
        facts = inspect(picture)
    except NotAPicture as error:
        raise spoiled(f"what {call.provider} made is no picture: {error}", provider_request_id) from error
    if (facts.width, facts.height) != (work.width, work.height):
        wrong = f"{facts.width} × {facts.height} px and not {work.width} × {work.height}"
        raise spoiled(f"what {call.provider} made is {wrong}", provider_request_id)
    sent = {name: value for name, value in asked.items() if name not in {"prompt", "negative_prompt"}}
    manifest: dict[str, Any] = {
        "backend": "openai",
        "provider": call.provider,
        "request": sent,
        "not_sent": sorted(set(EXTRAS) - set(call.takes)),
        "seed_is_reproducible": "seed" in call.takes,
    }
    if isinstance(revised := said.get("revised_prompt"), str):
        manifest["revised_prompt"] = revised
    return Generated(
        image=picture,
        width=facts.width,
        height=facts.height,
        media_type=facts.media_type,
        manifest=manifest,
        provider_request_id=provider_request_id,
    )


async def _keep(work: Generation, provider_request_id: str) -> None:
    with suppress(Unavailable):  # the settlement says it once more
        await work.keep_id(provider_request_id)


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The body; of one that is larger only the beginning, which is no answer."""
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > limit:
            break
    return bytes(body[:limit])


def _first_image(body: bytes) -> dict[str, Any]:
    answer = orjson.loads(body)
    images = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(images, list) or not images or not isinstance(images[0], dict):
        raise ValueError("it holds no picture")
    return images[0]


def _error_of(body: bytes) -> dict[str, Any] | None:
    """The server's own error object; {} where it speaks JSON in another form, None where it does not."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict):
        return None
    error = answer.get("error")
    return error if isinstance(error, dict) else {}


def _word(value: Any) -> str:
    """A code of the provider's, if it looks like one."""
    return value if isinstance(value, str) and len(value) <= 80 and value.replace("_", "").isalnum() else ""


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; a date is not worth a clock that may differ from theirs."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


def _in_short(error: Exception) -> str:
    return "it is not JSON" if isinstance(error, orjson.JSONDecodeError) else str(error) or type(error).__name__
