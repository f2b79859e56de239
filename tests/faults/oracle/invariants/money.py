"""I5: every billed call is settled or listed as uncertain, once, in every book; none is repeated silently."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from tests.faults.oracle.evidence import Evidence, Row, Violation
from tests.faults.oracle.invariants.assets import attempts_of

Broken = partial(Violation, invariant="I5")


def check(evidence: Evidence) -> Iterator[Violation]:
    attempts = evidence.by("inference.attempts", "attempt_id")
    yield from _charges(evidence, attempts | evidence.by("inference.replays", "replay_id"))
    yield from _repeats(attempts)
    yield from _books(evidence, attempts)
    yield from _spending(evidence)
    yield from _set_aside(evidence)


def _charges(evidence: Evidence, booked: dict[str, Row]) -> Iterator[Violation]:
    """`booked`: attempts and replays."""
    billed: defaultdict[str, list[Decimal]] = defaultdict(list)
    for line in evidence.charges:
        billed[line["attempt_id"]].append(Decimal(line["amount"]))
    for attempt, amounts in billed.items():
        if len(amounts) > 1:
            yield Broken(subject=attempt, what=f"was billed {len(amounts)} times", kind="doubled")
        row = booked.get(attempt)
        if row is None:
            yield Broken(subject=attempt, what="was billed, and is no attempt of ours", kind="lost")
        elif row["state"] != "uncertain" and not row["cost"]:
            yield Broken(subject=attempt, what=f"was billed, and is {row['state']} at no cost", kind="lost")
        elif row["cost"] and row["cost"] != sum(amounts):
            yield Broken(subject=attempt, what=f"was billed {sum(amounts)}, and is booked at {row['cost']}")
    yield from _called(evidence, booked, billed.keys())


def _called(evidence: Evidence, booked: dict[str, Row], billed: Collection[str]) -> Iterator[Violation]:
    """A backend is named after the account that it calls, and after what it asks for there."""
    accounts = {line["by"] for line in evidence.calls}
    for attempt, row in booked.items():
        if row["backend"].partition("-")[0] in accounts and row["cost"] and attempt not in billed:
            yield Broken(subject=attempt, what="was paid for, and never billed", evidence=dict(row))
    for line in evidence.calls:
        backend = booked[line["attempt_id"]]["backend"] if line["attempt_id"] in booked else line["by"]
        if backend.partition("-")[0] != line["by"]:
            yield Broken(subject=line["attempt_id"], what=f"is booked for {backend}, and {line['by']} was called")


def _repeats(attempts: dict[str, Row]) -> Iterator[Violation]:
    numbers: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for attempt, row in attempts.items():
        numbers[row["job_id"], row["run"]].append(row)
        if row["state"] == "started":
            yield Broken(subject=attempt, what="has neither ended nor is it uncertain", kind="lost", evidence=dict(row))
    for (job, run), rows in numbers.items():
        last = max(row["number"] for row in rows)
        for row in rows:
            if row["state"] == "uncertain" and row["number"] < last:
                yield Broken(subject=job, what=f"run {run} was repeated after an uncertain attempt", kind="doubled")


def _books(evidence: Evidence, attempts: dict[str, Row]) -> Iterator[Violation]:
    """The same attempts at the same cost in events, in the catalog and in intake."""
    told = _told(evidence)
    books = {name: evidence.by(name, "attempt_id") for name in ("intake.attempts", "catalog.attempts")}
    for attempt, row in attempts.items():
        if attempt not in told:
            yield Broken(subject=attempt, what="was made, and no event says so", kind="lost", evidence=dict(row))
            continue
        costs = {"an event": _cost(told[attempt].get("cost")), "inference": _cost(row["cost"])}
        for name, book in books.items():
            if attempt not in book:
                yield Broken(subject=attempt, what=f"is missing in {name}", kind="lost")
            else:
                costs[name] = _cost(book[attempt]["cost"])
        if len(set(costs.values())) > 1:
            shown = {name: str(cost) for name, cost in costs.items()}
            yield Broken(subject=attempt, what="costs different things to different services", evidence=shown)
    yield from _invented(evidence, attempts, books)


def _invented(evidence: Evidence, attempts: dict[str, Row], books: dict[str, dict[str, Row]]) -> Iterator[Violation]:
    ours = {row["workspace"] for row in evidence.requests.values()}
    for name, book in books.items():
        for attempt, row in book.items():
            if attempt not in attempts and row["workspace"] in ours:
                yield Broken(subject=attempt, what=f"is in {name}, and nobody made it")
    late = Counter(event.body["attempt"]["attempt_id"] for event in evidence.all_of("AttemptSettled"))
    for attempt, many in late.items():
        if many > 1:
            yield Broken(subject=attempt, what=f"was settled {many} times", kind="doubled")


def _told(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Attempt → what the events say of it; a cost that is known is better than none."""
    told: dict[str, dict[str, Any]] = {}
    for event in evidence.all_of("ImageGenerated", "JobFailed", "JobCancelled", "AttemptSettled"):
        for attempt in attempts_of(event):
            known = told.get(attempt["attempt_id"])
            if known is None or known.get("cost") is None:
                told[attempt["attempt_id"]] = attempt
    return told


def _cost(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value)).normalize()


def _spending(evidence: Evidence) -> Iterator[Violation]:
    """What a day cost is the sum of its attempts."""
    wanted: dict[tuple[str, str, str], tuple[Decimal, int, int]] = {}
    for row in evidence.table("intake.attempts"):
        place = row["workspace"], row["day"], row["currency"]
        cost, many, unpriced = wanted.get(place, (Decimal(0), 0, 0))
        wanted[place] = cost + (row["cost"] or Decimal(0)), many + 1, unpriced + (row["cost"] is None)
    found = {
        (row["workspace"], row["day"], row["currency"]): (row["cost"], row["attempts"], row["unpriced"])
        for row in evidence.table("intake.spending")
    }
    for place in wanted.keys() | found.keys():
        if wanted.get(place) != found.get(place):
            told = {"counted": str(wanted.get(place)), "kept": str(found.get(place))}
            yield Broken(subject=" ".join(place), what="spending is not the sum of its attempts", evidence=told)


def _set_aside(evidence: Evidence) -> Iterator[Violation]:
    """What a cap is held against: what the day cost, and what was let go for whose cost is not known; replays too."""
    wanted: defaultdict[tuple[str, str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for row in [*evidence.table("inference.attempts"), *evidence.table("inference.replays")]:
        sums = wanted[row["workspace"], row["day"], row["currency"]]
        sums[row["cost"] is None] += (row["reserved"] if row["cost"] is None else row["cost"]) or Decimal(0)
    found = {
        (row["workspace"], row["day"], row["currency"]): [row["settled"], row["reserved"]]
        for row in evidence.table("inference.spend")
    }
    for place in wanted.keys() | found.keys():
        counted, kept = wanted[place], found.get(place, [Decimal(0), Decimal(0)])
        if counted != kept:
            told = {"counted": [str(each) for each in counted], "kept": [str(each) for each in kept]}
            yield Broken(subject=" ".join(place), what="what a cap is held against is not the sum", evidence=told)
