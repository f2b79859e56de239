"""A signed webhook, after the Standard Webhooks specification (1.0): one POST a publication.

The message is the approval, complete in itself: every file with address, type, size and SHA-256. Its `webhook-id` is
the publication's id, the same over every try, so a receiver that remembers ids has one effect however often we come.
What the receipt says is the hash of the message that was acknowledged. A receiver that answers with the addresses where
it serves the files is looked at there (`services/publisher/arriving.py`).
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, NoReturn, Self
from uuid import UUID

import httpx
import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.publisher.domain import Delivered, Delivery
from services.publisher.targets.outside import SECRET_NAME, Outside
from services.publisher.targets.protocol import Busy, Read, Uncertain
from services.publisher.targets.reaching import address_of, origin, received, towards
from shared.errors import Rejected, Unavailable
from shared.events import Receipt, Verified
from shared.library.documents import TargetDocument

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
EXCUSE_SECONDS = 2.0  # for the reason beside a refusal, which is known already
EXCUSE_BYTES = 2048
EXCUSE_SHOWN = 200
ANSWER_SECONDS = 2.0  # for the rest of an answer that says where the files stand
ANSWER_BYTES = 256 * 1024
# Printable ASCII, which every store and fact can hold. What is told of it ends at its query: all files of an asset fit
# into one fact.
ADDRESS = r"^[!-\"$->@-~]{1,500}([?#][!-~]*)?$"
MAX_PAUSE_SECONDS = 3600.0  # a receiver that asks for more is asked again after this
MAX_PATIENCE_HOURS = 24 * 30


class Settings(BaseModel):
    """The `settings` of a target of type webhook; `secrets` are names in the publisher's environment, and all sign."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000)
    secrets: list[Annotated[str, Field(pattern=f"^{SECRET_NAME.pattern}$")]] = Field(min_length=1, max_length=4)
    timeout_seconds: float = Field(default=20.0, gt=0, le=60, description="For one answer, all in all")
    give_up_hours: float = Field(default=72.0, gt=0, le=MAX_PATIENCE_HOURS, description="After its approval")
    serves_from: list[Annotated[str, Field(max_length=300)]] = Field(
        default_factory=list, max_length=4, description="Origins of the addresses it may answer with, beside its own"
    )


class Place(BaseModel):
    name: str
    url: str = Field(max_length=2000, pattern=ADDRESS)


class Answer(BaseModel):
    """What a receiver may say beside its 2xx or 409, as JSON: where it serves which of the files."""

    files: list[Place] = Field(default_factory=list, max_length=1000)


def message(delivery: Delivery) -> bytes:
    """The same bytes at each try."""
    asset = delivery.asset
    data = asset.model_dump(mode="json", exclude_none=True)
    data |= {"publication_id": str(delivery.publication_id), "target": delivery.target}
    whole = {"type": type(asset).__name__, "timestamp": asset.occurred_at, "data": data}
    return orjson.dumps(whole, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def sign(body: bytes, *, keys: Sequence[bytes], webhook_id: str, at: datetime) -> dict[str, str]:
    """The specification's three headers; one signature a key, so that a receiver may change to the new one any time."""
    timestamp = str(int(at.timestamp()))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


class WebhookTarget:
    keyed = True

    def __init__(
        self,
        url: httpx.URL,
        *,
        name: str,
        keys: Sequence[bytes],
        timeout: float,
        outside: Outside,
        serves_from: Sequence[httpx.URL] = (),
    ) -> None:
        self._url = url
        self._origins = {origin(each) for each in (url, *serves_from)}
        self._name = name
        self._keys = keys
        self._timeout = timeout
        self._outside = outside
        self._client = httpx.AsyncClient(
            verify=outside.tls or True,
            trust_env=False,  # a proxy of the environment would resolve the name anew
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
        )

    @classmethod
    def of(cls, document: TargetDocument, *, workspace: UUID, outside: Outside) -> Self:
        settings, url = _settings(document)
        return cls(
            url,
            name=document.name,
            keys=[outside.secret(name, workspace=workspace) for name in settings.secrets],
            timeout=settings.timeout_seconds,
            outside=outside,
            serves_from=[_address(document, text) for text in settings.serves_from],
        )

    async def deliver(self, delivery: Delivery, *, read: Read) -> Delivered:  # noqa: ARG002  # the receiver fetches
        body = message(delivery)
        webhook_id = str(delivery.publication_id)
        signed = sign(body, keys=self._keys, webhook_id=webhook_id, at=delivery.tried_at)
        address = await address_of(self._url, self._outside)
        request = towards(self._url, address, **signed, **{"content-type": "application/json"})
        try:
            # The time-outs of the client are for each wait; a receiver that drips would meet them all.
            async with (
                asyncio.timeout(self._timeout) as patience,
                self._client.stream("POST", content=body, **request) as answer,
            ):
                if not _is_taken(answer.status_code):
                    await self._refuse(answer, now=delivery.tried_at)
                patience.reschedule(None)  # it is taken, whatever becomes of the rest of the answer
                stands = await _stands(answer)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unavailable(self._name, repr(error)) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise Uncertain(f"{self._name} gave no answer: {error!r}") from error
        location = str(self._url.copy_with(query=None))
        receipt = Receipt(
            location=location,
            sha256=hashlib.sha256(body).hexdigest(),
            bytes=len(body),
            name=f"{type(delivery.asset).__name__}.json",
            remote_id=webhook_id,
        )
        return Delivered(location=location, receipts=[receipt], verified=Verified.ACKNOWLEDGED, stands=stands)

    async def fetch(self, location: str, *, most: int) -> bytes:
        """By the same rules as the message leaves, from its host or one that the document names."""
        try:
            url = httpx.URL(location)
            asked = origin(url)
        except (httpx.InvalidURL, UnicodeError) as error:  # a host that is no name of IDNA is met when it is looked at
            raise Rejected("location", f"no address: {error}", remedy="answer with the address of the file") from error
        if url.userinfo or asked not in self._origins:
            what = f"{url.host} is not where {self._name} says that it serves from"
            raise Rejected("location", what, remedy="name it in `serves_from` of the target")
        address = await address_of(url, self._outside)
        try:
            request = towards(url, address, **{"accept-encoding": "identity"})
            async with self._client.stream("GET", **request) as answer:
                if answer.status_code != 200:
                    raise Rejected("location", f"it answered {answer.status_code}", remedy="let whoever asks fetch it")
                return await received(answer, most=most)
        except httpx.HTTPError as error:
            raise Unavailable(self._name, repr(error)) from error

    async def close(self) -> None:
        await self._client.aclose()

    async def _refuse(self, answer: httpx.Response, *, now: datetime) -> NoReturn:
        status = answer.status_code
        said = f"it answered {status}"
        if status in {429, 503} and (seconds := _pause(answer.headers.get("retry-after"), now=now)) is not None:
            raise Busy(self._name, said, seconds=seconds)
        if status in {408, 425, 429, 503}:
            raise Unavailable(self._name, said)
        if status >= 500:
            raise Uncertain(f"{self._name} answered {status}")  # something broke, before the effect or after it
        if status == 410:
            raise Rejected(
                "gone", said, self._name, f"nobody listens there: switch {self._name} off, or correct its url"
            )
        if status in range(300, 400):
            raise Rejected(
                "redirected", f"{said}, and no redirect is followed", self._name, "correct its url, then retry"
            )
        raise Rejected("refused", said + await _excuse(answer), self._name, "mend what it complains of, then retry")


async def _stands(answer: httpx.Response) -> dict[str, str]:
    """Addresses by our files' names. One that says nothing we can read has said nothing: it took the message."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return {}
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            told = Answer.model_validate_json(await received(answer, most=ANSWER_BYTES))
    except (httpx.HTTPError, TimeoutError, Rejected, ValidationError) as error:
        log.warning("webhook.answer_unread", cause=type(error).__name__)
        return {}
    return {place.name: place.url for place in told.files}


def give_up_hours(document: TargetDocument) -> float:
    """For how many hours after its approval a publication is tried."""
    return _settings(document)[0].give_up_hours


def _settings(document: TargetDocument) -> tuple[Settings, httpx.URL]:
    try:
        settings = Settings.model_validate(document.settings)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _unusable(document, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for each in settings.serves_from:
        _address(document, each, place="serves_from")
    return settings, _address(document, settings.url)


def _address(document: TargetDocument, text: str, *, place: str = "url") -> httpx.URL:
    try:
        url, host = (parsed := httpx.URL(text)), parsed.host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _unusable(document, f"{place}: {error}") from error
    if url.scheme not in {"https", "http"} or not host or url.userinfo or url.fragment:
        raise _unusable(document, f"{place}: not an address of a host by https, without name, password or fragment")
    return url


def _unusable(document: TargetDocument, what: str) -> Rejected:
    return Rejected("target_settings", what, document.label, "publish a version that is corrected, then retry")


def _is_taken(status: int) -> bool:
    """Any 2xx; and 409, by which a receiver that remembers our id says that it has it already."""
    return status in range(200, 300) or status == 409


def _pause(text: str | None, *, now: datetime) -> float | None:
    """Retry-After in seconds, written as such or as a date."""
    if text is None:
        return None
    try:
        seconds = float(text) if text.isdigit() else (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), MAX_PAUSE_SECONDS)


async def _excuse(answer: httpx.Response) -> str:
    """What it says beside its status, as much as a person wants to read; raw, for nothing is to be unpacked here."""
    said = b""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(EXCUSE_SECONDS):
            async for part in answer.aiter_raw():
                said += part
                if len(said) >= EXCUSE_BYTES:
                    break
    text = " ".join("".join(c if c.isprintable() else " " for c in said.decode(errors="replace")).split())
    return f": {text[:EXCUSE_SHOWN]}" if text else ""
