"""What is asked, in which order: a function of the seed alone, so that the same seed asks the same again."""

import csv
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.faults.load.library import ASSET_TYPES, BEGUN, CAMPAIGN, CHANNEL, REJECTS, STAMP, UNTOLD
from tests.postprocess.pictures import plain, written

Whose = Literal["load", "canary"]
COLUMNS = ("key", "campaign", "asset_type", "headline", "mood", "channels", "variants", "priority", "confidentiality")
DEFAULTS = {"variants": 1, "priority": "normal", "confidentiality": "public"}
SOURCES = ("/shop", "/pim")
WORDS = ("calm", "bright", "salted", "northern", "late", "wide")
PICTURES = 8
# Of every forty, and of every eighty, those that ask for the same picture; the first file of all ends before them.
TWINS, ELSEWHERE = frozenset({33, 34, 36}), 35
NOWHERE = "telex"  # a channel that nobody has


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """Asked for so many seconds after the request; `variant` None: all of it."""

    after: float
    variant: int | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What one request asks for."""

    body: dict[str, Any]

    @property
    def is_wrong(self) -> bool:
        return NOWHERE in self.body["channels"]

    @property
    def fails(self) -> str | None:
        """The check that has to reject whatever is made of it."""
        is_untold = self.is_compared and self.body["variables"]["mood"].startswith(UNTOLD)
        return REJECTS if is_untold else None

    @property
    def is_compared(self) -> bool:
        """Whether it is asked of its pictures if they came before."""
        return bool(self.body["asset_type"] == STAMP)


@dataclass(frozen=True, kw_only=True)
class Ask(Wanted):
    """One request, over HTTP or Kafka. `again`: how often it is sent besides the first time."""

    number: int
    whose: Whose
    via: Literal["http", "kafka"]
    key: str
    source: str = ""
    again: int = 0
    clash: bool = False
    """The key comes again with another body: to be refused."""
    structured: bool = False
    traceparent: str | None = None
    cancel: Cancel | None = None
    picture: int | None = None
    """The number of the picture that the image begins from."""
    sha256: Sequence[str] = ()
    """Of that picture, as it was answered."""


@dataclass(frozen=True, kw_only=True)
class Row(Wanted):
    """One row of a file; what differs from the defaults is what its request is named by."""

    key: str

    @property
    def ask(self) -> dict[str, Any]:
        return {name: value for name, value in self.body.items() if DEFAULTS.get(name) != value}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One batch, sent as these files one after another: repaired, changed, repeated."""

    whose: Whose
    name: str
    files: Sequence[Sequence[Row]]
    traceparent: str | None = None
    cancels: dict[str, Cancel] = field(default_factory=dict)
    """By the row's key, of what the first file asks."""
    cancel: Cancel | None = None
    """Of the whole batch, after its last file was taken."""


Step = Ask | Sheet


def plan(*, seed: int, requests: int, canary: str) -> Iterator[Step]:
    """So many requests; the rows of files count as one each."""
    rng = random.Random(seed)
    number = 0
    while number < requests:
        if number == 4 or (number > 4 and rng.random() < 0.02):
            rows = min(rng.randint(5, 25), requests - number)
            yield _sheet(rng, seed, number, rows=rows, canary=canary)
            number += rows
        else:
            yield _ask(rng, seed, number, canary=canary)
            number += 1


def _ask(rng: random.Random, seed: int, number: int, *, canary: str) -> Ask:
    # The first four see to it that even a small run has something of everything.
    is_kafka = rng.random() < 0.4 if number > 3 else number % 2 == 1
    via: Literal["http", "kafka"] = "kafka" if is_kafka else "http"
    whose: Whose = "canary" if number in {2, 3} or (number > 3 and rng.random() < 0.03) else "load"
    if number % 80 == ELSEWHERE:
        whose = "canary"  # what the others' pictures are like is nothing to it
    twin = _twin(number)
    is_wrong = number > 3 and rng.random() < 0.03 and not twin
    body = _body(rng, number, canary=canary) | ({"channels": [NOWHERE]} if is_wrong else {}) | twin
    cancel = None
    if not is_wrong and rng.random() < 0.08:
        cancel = Cancel(
            after=rng.choice((0.0, rng.uniform(0, 2), rng.uniform(2, 20))),
            variant=rng.randint(1, body["variants"]) if rng.random() < 0.5 else None,
        )
    # These go to providers, some of which can begin from a picture.
    is_edited = body["priority"] == "high" or body["confidentiality"] == "confidential"
    # Two workspaces, and two sources, use the same ids: each is a request of its own.
    named = number - 2 if whose == "canary" else number
    key, source = (f"{seed}-{named // 2}", SOURCES[number % 2]) if is_kafka else (f"{seed}-{named}", "")
    return Ask(
        number=number,
        whose=whose,
        via=via,
        key=key,
        source=source,
        body=body | {"client_reference": f"ref-{number}"},
        again=rng.choice((1, 2, 4)) if number in {0, 1} or rng.random() < 0.12 else 0,
        clash=not is_kafka and (number == 0 or rng.random() < 0.03),
        structured=is_kafka and rng.random() < 0.25,
        traceparent=_traceparent(rng),
        cancel=cancel,
        picture=rng.randrange(PICTURES) if is_edited and rng.random() < 0.2 else None,
    )


def _sheet(rng: random.Random, seed: int, number: int, *, rows: int, canary: str) -> Sheet:
    whose: Whose = "canary" if rng.random() < 0.05 else "load"
    first = [Row(key=f"row {place}", body=_body(rng, number + place, canary=canary)) for place in range(rows)]
    files: list[list[Row]] = [first]
    if rng.random() < 0.6:  # some rows are wrong at first, and one is changed later
        files[0] = [_spoilt(row) if rng.random() < 0.15 else row for row in first]
        repaired = list(first)
        changed = rng.randrange(rows)
        repaired[changed] = Row(key=first[changed].key, body=_body(rng, number + changed, canary=canary))
        files.append(repaired)
    if rng.random() < 0.4:
        files.append(list(files[-1]))
    cancels = {
        row.key: Cancel(after=rng.uniform(0, 10)) for row in files[0] if not row.is_wrong and rng.random() < 0.06
    }
    traceparent = _traceparent(rng)
    whole = Cancel(after=rng.choice((0.0, rng.uniform(0, 10)))) if rng.random() < 0.15 else None
    return Sheet(
        whose=whose, name=f"{seed}-{number}", files=files, traceparent=traceparent, cancels=cancels, cancel=whole
    )


def _spoilt(row: Row) -> Row:
    return Row(key=row.key, body=row.body | {"channels": [NOWHERE]})


def _body(rng: random.Random, number: int, *, canary: str) -> dict[str, Any]:
    refused = f" {BEGUN}" if rng.random() < 0.03 else ""
    body: dict[str, Any] = {
        "campaign": CAMPAIGN,
        "asset_type": rng.choice(ASSET_TYPES),
        "channels": [CHANNEL],
        "variables": {"headline": f"Evening {number}{refused}", "mood": rng.choice(WORDS)},
        "variants": rng.choices((1, 2, 3, 4), weights=(75, 15, 6, 4))[0],
        "priority": rng.choices(("normal", "low", "high"), weights=(60, 15, 25))[0],
        "confidentiality": rng.choices(("public", "internal", "confidential"), weights=(80, 12, 8))[0],
    }
    if number % 20 == 5:
        body["asset_type"], body["variables"]["mood"] = STAMP, UNTOLD
    # Whoever is shown the prompt is shown how secret it is.
    body["variables"]["mood"] += f" level-{body['confidentiality']} {canary}".rstrip()
    return body


def _twin(number: int) -> dict[str, Any]:
    """Asks that follow each other, and may well be made at once, for the same picture."""
    if number % 40 not in TWINS and number % 80 != ELSEWHERE:
        return {}
    return {"asset_type": STAMP, "seed": number // 40, "variants": 1, "priority": "normal"}


def _traceparent(rng: random.Random) -> str | None:
    """Most callers have a trace, and sampled some of it."""
    trace, span, kind = rng.getrandbits(128), rng.getrandbits(64), rng.random()
    if kind > 0.7:
        return None
    return f"00-{trace:032x}-{span:016x}-{'01' if kind < 0.5 else '00'}"


def picture(number: int, whose: Whose) -> bytes:
    """A PNG of one colour: each workspace has as many as numbers below `PICTURES`."""
    return written(plain(colour=(number * 256 // PICTURES, 90, 160 if whose == "load" else 20)))


def table(rows: Sequence[Row]) -> bytes:
    """The rows as a CSV file."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        fields = {"key": row.key, **row.body, **row.body["variables"], "channels": "|".join(row.body["channels"])}
        writer.writerow([fields[column] for column in COLUMNS])
    return out.getvalue().encode()
