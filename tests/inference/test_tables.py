"""Tables as this stage keeps them: the day is the database's, and a decision is kept for a day and a canary's side."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest

from services.inference import tables as module
from services.inference.queue import queries
from services.inference.routing import Ask, Decision, Unroutable
from services.inference.tables import RoutingTables
from shared.events import Confidentiality, Lane
from shared.library.documents import Canary, RouteRule, Routes
from tests.inference.tables import backend, table

WORKSPACE, ASK = UUID(int=1), Ask(confidentiality=Confidentiality.PUBLIC)
LAST_DAY = date(2031, 5, 31)  # far from whatever the host believes


class Books:
    """What the database says: the day, and the tables of the only workspace."""

    def __init__(self, routes: Routes) -> None:
        self.day, self.routes = LAST_DAY, routes

    async def today(self, _: Any) -> date:
        return self.day

    async def newest(self, _: Any, workspaces: set[UUID], __: str) -> dict[UUID, dict[str, str]]:
        return {workspace: {self.routes.name: self.routes.model_dump_json()} for workspace in workspaces}


def opened(monkeypatch: pytest.MonkeyPatch, routes: Routes) -> tuple[RoutingTables, Books]:
    books = Books(routes)
    monkeypatch.setattr(queries, "today", books.today)
    monkeypatch.setattr(module, "newest_documents", books.newest)
    monkeypatch.setattr(module, "FRESH_SECONDS", -1.0)
    return RoutingTables(kinds=["proof"]), books


async def decided(tables: RoutingTables, job: UUID | None = None) -> Decision | Unroutable:
    await tables.refresh(None, [WORKSPACE])  # type: ignore[arg-type]  # nothing asks it
    return tables.decide(WORKSPACE, ASK, job=job)


async def test_the_day_that_ends_a_backend_s_life_is_the_database_s(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [RouteRule(id="any", lane=Lane.STANDARD, backends=["b"])]
    tables, books = opened(monkeypatch, table(backend("b", end_of_life=LAST_DAY), rules=rules))
    assert isinstance(await decided(tables), Decision)
    books.day = date(2031, 6, 1)
    ended = await decided(tables)
    assert isinstance(ended, Unroutable)
    assert ended.refused == {"b": "its life ended on 2031-05-31"}


async def test_a_job_s_side_of_a_canary_is_kept_apart_from_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = RouteRule(id="any", lane=Lane.STANDARD, backends=["old"], canary=Canary(backend="new", percent=5))
    tables, _ = opened(monkeypatch, table(backend("old"), backend("new"), rules=[rule]))
    found = [await decided(tables, job) for job in (UUID(int=4), UUID(int=5), UUID(int=104), None)]
    assert [each.backend.name for each in found if isinstance(each, Decision)] == ["new", "old", "new", "old"]


async def test_jobs_on_the_same_side_of_every_canary_share_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision costs more than all else that is done with a job when it comes, and pins its table."""
    percents = {Confidentiality.PUBLIC: 5, Confidentiality.INTERNAL: 40}
    rules = [
        RouteRule(
            id=str(level),
            confidentiality=[level],
            lane=Lane.STANDARD,
            backends=["old"],
            canary=Canary(backend="new", percent=percent),
        )
        for level, percent in percents.items()
    ]
    tables, _ = opened(monkeypatch, table(backend("old"), backend("new"), rules=rules))
    await decided(tables)
    for level, percent in percents.items():
        ask = Ask(confidentiality=level)
        found = [tables.decide(WORKSPACE, ask, job=UUID(int=bucket)) for bucket in range(100)]
        names = [each.backend.name for each in found if isinstance(each, Decision)]
        assert names == ["new"] * percent + ["old"] * (100 - percent)
        assert len({id(each) for each in found}) == len(percents) + 1
