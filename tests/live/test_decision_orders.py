"""Cancel, result, approval, failure and retry of one job in every order, repeated: who came first is told, and kept.

Each order is a word: C somebody cancels, R the result arrives, A a person approves, U takes it back, F the run fails,
T it is started again. All words go through the catalog's own transactions at once, a job each, and end where a model
of a few lines says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from deploy.local.servers import EmbeddedServers
from services.catalog.ledger.writing import Writing
from services.catalog.review.desk import Desk, Person, Refused, Taken
from services.catalog.review.rules import AssetVerdict
from shared.http import HttpProblem
from tests.catalog.facts import WORKSPACE, Request
from tests.live.clones import Books, Copy, Original, open_books
from tests.live.stage import new_database

ADA = Person(principal="ada", workspace=WORKSPACE, context=INVALID_SPAN_CONTEXT)
WINDOW = 3600.0
REQUEST = Request(name="one job")
(JOB,) = REQUEST.jobs
FACTS = {"C": REQUEST.cancel(), "R": JOB.processed(), "F": JOB.failed(), "T": JOB.again().retried()}
PLACE = {letter: place for place, letter in enumerate(FACTS, 1)}


def words() -> list[str]:
    """Every word of up to five letters, and every one of six that has all five."""
    short = ("".join(word) for length in range(1, 6) for word in product("CRAFT", repeat=length))
    long = ("".join(word) for word in product("CRAFT", repeat=6) if len(set(word)) == 5)
    return [*short, *long]


@dataclass(slots=True)
class Model:
    """One job as far as the letters say; `window`: what is decided can be taken back for a while."""

    window: bool
    tombstone: bool = False
    result: bool = False
    failed: bool = False
    retried: bool = False
    dropped: bool = False
    waits: bool = False
    open: bool = False
    approved: bool = False
    undone: int = 0

    def hear(self, letter: str) -> bool:
        """Whether a person's act was taken; facts always are."""
        match letter:
            case "C":
                self.tombstone = True
                self.dropped, self.waits = self.dropped or self.waits, False
            case "R" if not self.result:
                self.result = True
                if not self.failed and not self.retried:
                    self.waits, self.dropped = not self.tombstone, self.tombstone
            case "F":
                self.failed, self.waits = True, False
            case "T":
                self.retried, self.waits = True, False
            case "A":
                self.open, self.waits = self.open or self.waits, False
                if not self.window:
                    self.close()
                return self.open or self.approved
            case "U":
                if not self.open:
                    return False
                self.open, self.undone = False, self.undone + 1
                self.dropped = self.tombstone
                self.waits = not (self.tombstone or self.failed or self.retried)
        return True

    def close(self) -> None:
        """The undo window passes."""
        self.open, self.approved = False, self.open or self.approved

    @property
    def end(self) -> tuple[int, str]:
        if self.retried:
            return 2, "pending"
        ends = (self.approved, "approved"), (self.failed, "failed"), (self.dropped, "cancelled")
        return 1, next((word for so, word in ends if so), "completed" if self.result else "pending")


@dataclass(slots=True)
class Case:
    word: str
    copy: Copy
    model: Model
    decision: UUID | None = None

    @property
    def id(self) -> str:
        (job,) = (own for own, name in self.copy.names.items() if name == str(JOB.job_id))
        return job

    def verdict(self) -> AssetVerdict:
        body = self.copy.facts[PLACE["R"]].body
        asset, version = UUID(body["asset_id"]), UUID(body["asset_version_id"])
        seen = self.model.undone
        return AssetVerdict(asset_id=asset, asset_version=version, review_version=seen, decision="approve")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batches", ["one by one", "together"])
async def test_every_order_of_five_ends_as_the_set_says_and_loses_no_decision(
    servers: EmbeddedServers, batches: str
) -> None:
    async with open_books(await new_database(servers)) as books:
        cases = await begun(books, words(), window=0.0)
        await play(books, cases, together=batches == "together")
        await ends_as_told(books, cases, together=batches == "together")
        one_end_for_each_set(cases)


@pytest.mark.timeout(300)
async def test_every_order_with_an_undo_in_it_ends_as_the_set_says(servers: EmbeddedServers) -> None:
    async with open_books(await new_database(servers)) as books:
        cases = await begun(books, ["".join(word) for word in permutations("CRAFTU")], window=WINDOW)
        cases += await begun(books, ["".join(word) for word in product("RACU", repeat=4)], window=WINDOW, after=cases)
        await play(books, cases)
        opened = [case.decision for case in cases if case.model.open and case.decision]
        async with books.outbox.transaction() as running:
            writing = Writing(running, books.feed)
            await desk_of(books).conclude(writing, opened)
            await writing.close()
        for case in cases:
            case.model.close()
        await ends_as_told(books, cases)
        one_end_for_each_set(cases)


async def begun(books: Books, asked: Sequence[str], *, window: float, after: Sequence[Case] = ()) -> list[Case]:
    original = Original.of([REQUEST], [REQUEST.accepted(), *FACTS.values()])
    cases = [Case(word, original.copy(number), Model(window > 0)) for number, word in enumerate(asked, len(after))]
    await books.pool.execute(
        "insert into workspaces (workspace, name, state, limits, undo_seconds, revision) "
        "values ($1, 'Salt & Linden', 'active', '{}', $2, 1) on conflict do nothing",
        WORKSPACE,
        window,
    )
    await books.hear([case.copy.facts[0] for case in cases])
    return cases


def desk_of(books: Books) -> Desk:
    return Desk(books.outbox, books.feed, public_url="http://calotype.test")


async def play(books: Books, cases: Sequence[Case], *, together: bool = False) -> None:
    """Letter by letter, the same place of every word at once; `together`: all facts between two acts in one batch."""
    steps = [list(syllables(case.word) if together else case.word) for case in cases]
    for turn in range(max(map(len, steps))):
        now = [(case, letters[turn]) for case, letters in zip(cases, steps, strict=True) if turn < len(letters)]
        heard = [case.copy.facts[PLACE[letter]] for case, letters in now for letter in letters if letter in PLACE]
        if heard:
            await books.hear(heard)
        approving = [case for case, letters in now if letters == "A"]
        undoing = [case for case, letters in now if letters == "U"]
        verdicts = [case.verdict() for case in approving]  # as they look before anybody acts
        for case, letters in now:
            for letter in letters if letters not in {"A", "U"} else "":
                case.model.hear(letter)
        if verdicts:
            for case, answer in zip(approving, await desk_of(books).decide(ADA, verdicts), strict=True):
                answered(case, answer)
        for case in undoing:
            await undo(books, case)


def syllables(word: str) -> Iterator[str]:
    facts = ""
    for letter in word:
        if letter in PLACE:
            facts += letter
            continue
        if facts:
            yield facts
        yield letter
        facts = ""
    if facts:
        yield facts


def answered(case: Case, answer: Taken | Refused) -> None:
    taken = case.model.hear("A")
    assert isinstance(answer, Taken) == taken, f"{case.word}: {answer}"
    if isinstance(answer, Taken):
        case.decision = answer.decision_id


async def undo(books: Books, case: Case) -> None:
    taken = case.model.hear("U")
    if case.decision is None:
        assert not taken
        return
    try:
        await desk_of(books).undo(ADA, case.decision)
    except HttpProblem:
        assert not taken, case.word
    else:
        assert taken, case.word


async def ends_as_told(books: Books, cases: Sequence[Case], *, together: bool = False) -> None:
    jobs = {str(row["job_id"]): row for row in await books.pool.fetch(JOBS)}
    said = {str(row["about"]): dict(row) for row in await books.pool.fetch(SAID)}
    ends = {str(row["request_id"]): row for row in await books.pool.fetch(COMPLETED)}
    for case in cases:
        row, model = jobs[case.id], case.model
        assert (row["run"], row["status"]) == model.end, f"{case.word}: {dict(row)}"
        assert row["waits"] == model.waits, f"{case.word}: {dict(row)}"
        facts: dict[str, Any] = said.get(case.id, {"approved": 0, "cancelled": 0})
        assert facts["approved"] == model.approved, f"{case.word}: a decision that was taken is a fact, once"
        # A batch that holds a failure too knows at once that there is nothing left to drop.
        dropped = model.dropped and not (together and model.end[1] != "cancelled" and not facts["cancelled"])
        assert facts["cancelled"] == dropped, f"{case.word}: {facts}"
        assert not (facts["approved"] and facts["cancelled"]), case.word
        told(case, ends[str(row["request_id"])])


def told(case: Case, request: asyncpg.Record) -> None:
    run, status = case.model.end
    over = status in {"approved", "failed", "cancelled"}
    assert request["over"] == over, f"{case.word}: the request is {'over' if over else 'in flight'}"
    assert not over or request["told"].count(status) == 1, f"{case.word}: run {run}, {request['told']}"


def one_end_for_each_set(cases: Sequence[Case]) -> None:
    """Of the same letters, with the same answer to the person, there is one end."""
    ends: dict[tuple[frozenset[str], bool, bool], set[tuple[int, str]]] = {}
    for case in cases:
        model = case.model
        ends.setdefault((frozenset(case.word), model.approved, bool(model.undone)), set()).add(case.model.end)
    assert all(len(found) == 1 for found in ends.values()), {k: v for k, v in ends.items() if len(v) > 1}


JOBS = """
select j.job_id, j.request_id, j.run, w.job_id is not null as waits,
       (array['pending', 'running', 'completed', 'cancelled', 'failed', 'rejected', 'approved'])[j.rank + 1] as status
from jobs j left join awaiting_review w on w.job_id = j.job_id
"""
SAID = """
select about, (count(*) filter (where type = 'AssetApproved'))::int as approved,
       (count(*) filter (where type = 'JobCancelled'))::int as cancelled
from ledger group by about
"""
COMPLETED = """
select r.request_id, r.completed_at is not null as over,
       coalesce((select array_agg(k.status) from ledger l, jsonb_object_keys(l.body::jsonb -> 'jobs') as k(status)
                 where l.about = r.request_id and l.type = 'RequestCompleted'), '{}') as told
from requests r
"""
