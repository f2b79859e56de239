"""`calotype uncertain`: calls and publications in one list, and what is asked of each service to settle them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from deploy.cli import uncertain
from deploy.cli.client import Client
from deploy.errors import Problem

CALL: dict[str, Any] = {
    "attempt_id": "a-1",
    "started_at": "2026-11-22T09:30:00+00:00",
    "backend": "cloud",
    "job_id": "j-1",
    "provider_request_id": None,
    "reason": "model_timeout",
    "latency_seconds": 60.0,
}
PLACE = {"publication_id": "p-1", "target": "dam", "job_id": "j-2", "detail": "no answer", "remedy": "look there"}


class Services:
    """Inference and publisher as far as this verb asks them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else dict(request.url.params)
        self.asked.append((request.url.path, body))
        if request.url.path == "/v1/uncertain":
            first = "after" not in body
            return httpx.Response(200, json={"attempts": [CALL if first else CALL | {"attempt_id": "a-2"}],
                                             "next": "a-1" if first else None})  # fmt: skip
        if request.url.path == "/v1/publications":
            return httpx.Response(200, json={"publications": [PLACE], "next": None})
        if request.url.path == "/v1/uncertain/settle":
            return httpx.Response(200, json={"settled": body["attempts"], "already": [], "unknown": []})
        return httpx.Response(200, json=PLACE)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    running = Services()

    @contextmanager
    def connected(*_: Any, **__: Any) -> Iterator[Client]:
        with httpx.Client(transport=httpx.MockTransport(running.answer), base_url="http://calotype") as http:
            yield Client(http)

    monkeypatch.setattr(uncertain, "connected", connected)
    return running


def say(*words: str) -> Result:
    return CliRunner().invoke(uncertain.app, list(words), catch_exceptions=True)


def test_calls_and_publications_are_listed_together_page_after_page(services: Services) -> None:
    told = json.loads(say("list", "--json").stdout)
    assert [each["attempt_id"] for each in told["attempts"]] == ["a-1", "a-2"]
    assert told["publications"] == [PLACE]
    shown = say("list", "--limit", "1").stdout
    assert "a-1" in shown and "a-2" not in shown and "p-1" in shown
    assert "model_timeout after 60.0 s" in shown


def test_a_filter_for_calls_leaves_publications_out(services: Services) -> None:
    assert json.loads(say("list", "--older", "2h", "--backend", "cloud", "--json").stdout)["publications"] == []
    path, asked = services.asked[0]
    assert (path, asked["older"], asked["backend"]) == ("/v1/uncertain", "7200", "cloud")


def test_calls_chosen_by_age_are_settled_together(services: Services) -> None:
    assert say("settle", "--older", "1d", "--charged", "none", "--note", "invoice 7").stdout == "2 settled.\n"
    wanted = {"attempts": ["a-1", "a-2"], "charged": "none", "note": "invoice 7"}
    assert services.asked[-1] == ("/v1/uncertain/settle", wanted)


def test_a_publication_is_settled_by_a_word_and_how_one_knows(services: Services) -> None:
    assert say("settle", "p-1", "--not-delivered", "--note", "looked").stdout == "1 settled.\n"
    assert services.asked == [("/v1/publications/p-1/settle", {"delivered": False, "note": "looked"})]


@pytest.mark.parametrize(
    "words",
    [
        ["a-1"],
        ["a-1", "--charged", "much"],
        ["a-1", "--charged", "-1"],
        ["a-1", "--charged", "none", "--delivered"],
        ["a-1", "--charged", "none", "--older", "1h"],
        ["--charged", "none"],
        ["--older", "soon", "--charged", "none"],
        ["p-1", "--delivered"],
        ["--delivered", "--note", "looked"],
    ],
)
def test_half_a_statement_is_refused_and_nothing_is_settled(services: Services, words: list[str]) -> None:
    assert isinstance(say("settle", *words).exception, Problem)
    assert [path for path, _ in services.asked if path.endswith("settle")] == []
