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

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from services.inference.backends import BackendFailure
from shared.events import FailureReason

LONGEST_PAUSE = 3600.0  # a server that wants more is not busy but away
PAYING = "an operator pays the provider, or raises its limit"
REMEDIES = {
    401: "an operator corrects the provider's key in CALOTYPE_PROVIDERS",
    402: PAYING,
    403: "an operator asks the provider what this key may do",
    404: "an operator corrects the provider's address in CALOTYPE_PROVIDERS, or the model in the route",
    429: PAYING,
}
UNSURE = frozenset({408, 424})


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


def failure_of(answer: Answer, said: Refusal, *, who: str, request_id: str | None) -> BackendFailure:
    """What an answer without success means for the job and its money: the table above."""
    status = answer.status
    codes = [word for word in dict.fromkeys(_word(code) for code in said.codes) if word]
    words = " ".join([f"{who} answered {status}", *codes])
    given: dict[str, Any] = {"billed": False, "provider_request_id": request_id}
    away = FailureReason.BACKEND_UNAVAILABLE
    if said.filtered:
        return BackendFailure(FailureReason.CONTENT_FILTERED, words, retriable=False, **given)
    if status == 429 and not said.unpaid:
        after = retry_after(answer) if "retry-after" in answer.headers else said.pause
        return BackendFailure(away, words, retriable=True, busy=True, after=after, **given)
    if said.unpaid or status in REMEDIES or 300 <= status < 400:
        wrong_address = "an operator corrects the provider's address in CALOTYPE_PROVIDERS"
        remedy = PAYING if said.unpaid else REMEDIES.get(status, wrong_address)
        return BackendFailure(away, words, retriable=False, remedy=remedy, **given)
    if status in {500, 503} and said.own:
        return BackendFailure(away, words, retriable=True, after=retry_after(answer), **given)
    if status >= 500 or status in UNSURE:
        # Something between us and the provider speaks, or it was at work: nobody knows what it did.
        return uncertain(away, words, request_id)
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


def _word(value: Any) -> str:
    """A code of the provider's, if it looks like one."""
    return value if isinstance(value, str) and len(value) <= 80 and value.replace("_", "").isalnum() else ""


def retry_after(answer: Answer) -> float | None:
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
