"""One call to a provider over HTTP, from connecting to its answer, and how far it came."""

import asyncio
import base64
import binascii
import time
from collections.abc import Container, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from services.inference.backends import BackendFailure, Generated, Generation
from services.inference.backends.answers import Answer, nothing_sent, retry_after, uncertain
from shared.errors import Unavailable
from shared.events import FailureReason
from shared.library.documents import Call
from shared.retry import Backoff

CONNECT_SECONDS = 10.0
KEEP_SECONDS = 2.0  # how long an answer that is here waits until the provider's id is written
MAX_PICTURE = 64 * 2**20
MAX_ANSWER = MAX_PICTURE * 4 // 3 + 2**20  # the same in base64, and words around it
MAX_REFUSAL = 64 * 2**10
WAITS = frozenset({408, 425, 429})  # with every 5xx: what a look that costs nothing is repeated after
WORDS = frozenset({"prompt", "negative_prompt"})

FormPart = tuple[str, tuple[str | None, bytes, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where a provider is and what opens it: an operator's settings, so that no document can point elsewhere.

    `key_id`, `session` and `region` are for those that want requests signed; `webhook` is where one tells of its calls.
    """

    url: str
    key: str = field(default="", repr=False)
    key_id: str | None = None
    session: str = field(default="", repr=False)
    region: str | None = None
    proxy: str | None = None
    webhook: str | None = None


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
            told = None
            with suppress(httpx.RequestError):
                async with self.http.stream("GET", self.address(path), headers=bearer(self.provider)) as response:
                    if not _waits(response.status_code):
                        return await _answer(response, MAX_ANSWER)
                    told = response
            await _pause(backoff, told)

    async def fetch(self, address: str) -> bytes:
        """The picture is paid for and a GET is free: it is asked for until the call's time is over; without the key."""
        if urlsplit(address).scheme != "https" and _origin(address) != _origin(self.provider.url):
            raise self.spoiled("the picture lies at an address that is not https")
        backoff = Backoff(ceiling=5.0)
        while True:
            told = None
            with suppress(httpx.RequestError):
                async with self.http.stream("GET", address) as response:
                    if response.is_success:
                        return (await _answer(response, MAX_PICTURE)).body
                    if not _waits(response.status_code):
                        raise self.spoiled(f"its picture's address answers {response.status_code}")
                    told = response
            await _pause(backoff, told)

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
        return self._failure(FailureReason.CORRUPT_OUTPUT, words, billed=True)

    def filtered(self, words: str, *, billed: bool) -> BackendFailure:
        return self._failure(FailureReason.CONTENT_FILTERED, f"{self.call.provider}: {words}", billed=billed)

    def not_made(self, words: str) -> BackendFailure:
        return self._failure(FailureReason.BACKEND_UNAVAILABLE, words, retriable=True, billed=False)

    def _failure(self, reason: FailureReason, words: str, *, billed: bool, retriable: bool = False) -> BackendFailure:
        request_id = self.provider_request_id
        return BackendFailure(reason, words, retriable=retriable, billed=billed, provider_request_id=request_id)

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


def bearer(provider: Provider) -> dict[str, str]:
    return {"Authorization": f"Bearer {provider.key}"} if provider.key else {}


def told(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, for the manifest: the job's own manifest has the words already."""
    return {name: value for name, value in asked.items() if name not in WORDS}


def unasked(work: Generation, asked: Container[str]) -> frozenset[str]:
    """What job and route say and this provider is not told, by our names: the manifest has it as not sent."""
    said = {
        "negative_prompt": bool(work.negative_prompt),
        "strength": work.strength is not None,
        "quality": bool(work.call and work.call.quality),
        "scheduler": work.scheduler not in ("", "default"),
    }
    return frozenset(name for name, is_said in said.items() if is_said and name not in asked)


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


async def _pause(backoff: Backoff, told: httpx.Response | None) -> None:
    """Until the next look, and not before an answer says."""
    asked = None if told is None else retry_after(Answer(told.status_code, told.headers, b""))
    await asyncio.sleep(max(backoff.next(), asked or 0.0))


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


def _since(began: float | None) -> float | None:
    return None if began is None else round(time.monotonic() - began, 3)
