"""An operator at a terminal, against everything running: what waits, what is held, what failed, who did what."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from deploy.local.servers import EmbeddedServers
from tests.live.pipeline import LIBRARY, Pipeline, ask, pipeline
from tests.live.terminal import Terminal, until


@pytest.fixture(scope="module")
def running(servers: EmbeddedServers) -> Iterator[Pipeline]:
    with pipeline(servers) as everything:
        yield everything


@pytest.fixture
def terminal(running: Pipeline, tmp_path: Path) -> Terminal:
    terminal = Terminal(running, tmp_path)
    terminal.publish(LIBRARY)
    until(terminal.known)
    return terminal


def routed(terminal: Terminal, version: int, **rule: Any) -> None:
    """Publishes the next version of the routes."""
    (routes,) = [deepcopy(document) for document in LIBRARY if document["kind"] == "routes"]
    routes["version"] = version
    routes["rules"][0] |= rule
    terminal.publish([routes])


def test_what_is_held_says_who_holds_it_and_why_and_goes_on_when_it_is_let_go(terminal: Terminal) -> None:
    terminal.says("pause", "lane", "standard", "--reason", "the printer is on fire")
    assert "Which backend?" in terminal.says("pause", "backend", "--reason", "no name", code=1)
    one = terminal.write("one.json", json.dumps(ask(variants=2)))
    sent = terminal.told("submit", one)

    def held() -> bool:
        (inference,) = [stage for stage in terminal.told("queue")["stages"] if stage["stage"] == "inference"]
        return bool(sum(line["held"] for line in inference["lines"]) == 2)

    until(held)
    shown = terminal.says("queue")
    assert "pause lane standard" in shown and "the printer is on fire" in shown
    why = terminal.says("why", sent["request_id"])
    assert "lane standard paused by admin at" in why and "because the printer is on fire" in why
    assert "calotype resume lane standard" in why and "docs/runbook.md#held-by-a-brake" in why
    (brake,) = terminal.told("brakes")["brakes"]
    assert (brake["kind"], brake["held"], brake["running"], brake["everyone"]) == ("lane", 2, 0, False)
    assert "drained" in terminal.says("drain", "lane", "standard", "--reason", "still on fire", "--wait")

    assert "goes on in inference" in terminal.says("resume", "lane", "standard")
    assert "was not braked" in terminal.says("resume", "lane", "standard")
    terminal.says("submit", one, "--wait")
    assert "Nothing is braked" in terminal.says("brakes")
    acts = [(act["action"], act["principal"]) for act in terminal.told("audit", "--action", "brake")["actions"]]
    assert acts == [(f"brake.{verb}", "admin") for verb in ("resume", "drain", "pause")]


def test_what_failed_is_begun_again_when_it_can_be_and_all_of_it_follows_from_the_ledger(terminal: Terminal) -> None:
    routed(terminal, 2, priority=["high"])
    one = terminal.write("one.json", json.dumps(ask(variants=2)))
    sent = terminal.told("submit", one, "--wait", code=1)
    assert sent["statuses"] == {"failed": 2}
    assert "docs/runbook.md#unroutable" in terminal.says("why", sent["request_id"])
    where = ("--where", "reason=unroutable,stage=inference", "--where", f"request={sent['request_id']}")
    assert "publish routes that take it" in terminal.says("retry", *where)
    assert "fields are reason" in terminal.says("retry", "--where", "colour=red", code=1)
    assert "say which" in terminal.says("retry", code=1)

    routed(terminal, 3)
    until(terminal.routable)
    until(lambda: len(terminal.told("retry", *where, "--dry-run")["retried"]) == 2)
    begun = terminal.told("retry", *where)
    assert (sorted(begun["retried"]), begun["refused"]) == (sorted(sent["jobs"]), [])
    assert "Nothing that failed is like that" in terminal.says("retry", *where)
    again = terminal.told("submit", one, "--wait")
    assert again["statuses"] == {"completed": 2}

    found = terminal.told("catalog", "rebuild", "--check")
    assert (found["differences"], found["jobs"]) == ([], 2)
    assert "2 jobs" in terminal.says("catalog", "rebuild")
    (retried,) = terminal.told("audit", "--action", "job")["actions"]
    assert sorted(retried["detail"]["jobs"]) == sorted(sent["jobs"])


def test_only_a_key_of_the_owner_acts_on_everybody(terminal: Terminal) -> None:
    everybody = ("pause", "backend", "proof", "--everyone", "--reason", "moved")
    assert "role owner" in terminal.says(*everybody, code=1)
    admin = terminal.environment["CALOTYPE_KEY"]
    terminal.environment["CALOTYPE_KEY"] = terminal.says("key", "create", "root", "--role", "owner").strip()
    until(terminal.known)
    assert "everyone's" in terminal.says(*everybody)
    terminal.says("resume", "backend", "proof", "--everyone")
    terminal.environment["CALOTYPE_KEY"] = admin
    assert {act["action"] for act in terminal.told("audit", "--by", "root")["actions"]} == {
        "brake.pause",
        "brake.resume",
    }
