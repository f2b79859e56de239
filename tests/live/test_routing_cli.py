"""Routes at a terminal, against everything running: asked about, shown with every reason, looked after, rolled back."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local.servers import EmbeddedServers
from tests.live.pipeline import LIBRARY, Pipeline, ask, pipeline
from tests.live.terminal import Terminal, until

CLOUD: dict[str, Any] = {
    "name": "cloud",
    "kind": "openai",
    "visibility": "cloud",
    "model": "gpt-image-1",
    "call": {"provider": "acme"},
}


@pytest.fixture(scope="module")
def running(servers: EmbeddedServers) -> Iterator[Pipeline]:
    with pipeline(servers) as everything:
        yield everything


@pytest.fixture
def terminal(running: Pipeline, tmp_path: Path) -> Terminal:
    terminal = Terminal(running, tmp_path)
    terminal.publish(LIBRARY)
    until(terminal.known)
    until(terminal.routable)
    return terminal


def day(days: int) -> str:
    return str((datetime.now(UTC) + timedelta(days=days)).date())


def publish(terminal: Terminal, version: int, *backends: dict[str, Any], proof: dict[str, Any], **rule: Any) -> None:
    """The next version of the routes: `proof` as changed, further backends, the one rule as changed."""
    (routes,) = [deepcopy(document) for document in LIBRARY if document["kind"] == "routes"]
    routes["version"] = version
    routes["backends"] = [routes["backends"][0] | proof, *backends]
    routes["rules"][0] |= rule
    terminal.publish([routes])


def in_force(terminal: Terminal, version: int) -> Any:
    """Waits until inference decides by that version."""
    one = terminal.write("asked.json", json.dumps(ask()))

    def answer() -> Any:
        _, _, out = terminal.run("explain-route", one, "--json")
        found = json.loads(out)
        return found if found["table"]["version"] == version else None

    return until(answer)


def test_a_request_is_explained_as_it_would_be_routed_and_is_not_sent(terminal: Terminal) -> None:
    publish(terminal, 2, CLOUD, proof={"price": "0.02", "prices": [{"width": 64, "height": 64, "price": "0.01"}]})
    found = in_force(terminal, 2)
    assert (found["backend"], found["price"], found["asked"]["template"]) == ("proof", "0.01", "tile@1")
    assert found["refused"] == {"cloud": "no worker runs backends of kind 'openai'"}
    said = terminal.says("explain-route", terminal.write("one.json", json.dumps(ask(variants=2))))
    assert "2 jobs of 64 × 64 px, public, normal priority" in said
    assert "0.01 USD an image" in said
    assert "no worker runs backends of kind 'openai'" in said
    wrong = terminal.write("wrong.json", json.dumps(ask() | {"campaign": "wintr"}))
    assert "did you mean winter?" in terminal.says("explain-route", wrong, code=1)
    assert "--bulk" in terminal.says("explain-route", terminal.write("many.csv", "sku\n"), code=1)
    assert terminal.told("jobs")["jobs"] == [], "it only asked"


def test_a_job_nobody_may_make_shows_every_reason_wherever_it_is_looked_at(terminal: Terminal) -> None:
    publish(terminal, 2, CLOUD, proof={"ceiling": "public"}, backends=["cloud", "proof"])
    in_force(terminal, 2)
    one = terminal.write("one.json", json.dumps(ask() | {"confidentiality": "confidential"}))
    explained = terminal.told("explain-route", one, code=1)
    sent = terminal.told("submit", one, "--wait", code=1)
    assert sent["statuses"] == {"failed": 1}
    reasons = {
        "cloud": "it is not private, and confidential work never leaves private backends",
        "proof": "it takes nothing above public work",
    }
    assert explained["refused"] == reasons
    (job,) = terminal.told("trace", sent["request_id"])["jobs"]
    assert (job["route"]["backend"], job["route"]["table"], job["route"]["refused"]) == (None, "default@2", reasons)
    for verb in ("trace", "why"):
        said = terminal.says(verb, sent["request_id"])
        assert all(f"{name}  {why}" in said for name, why in reasons.items()), said


def test_the_doctor_names_what_is_due_ended_or_missing_with_a_remedy(running: Pipeline, terminal: Terminal) -> None:
    assert terminal.told("doctor") == {"findings": [], "errors": 0, "warnings": 0}
    assert "Nothing is wrong" in terminal.says("doctor")
    soon, gone = (CLOUD | {"name": name, "kind": "proof", "call": None} for name in ("soon", "gone"))
    backends = [soon | {"end_of_life": day(12)}, gone | {"end_of_life": day(-3)}, CLOUD]
    publish(terminal, 2, *backends, proof={"end_of_life": day(400)})
    in_force(terminal, 2)
    found = terminal.told("doctor")
    assert (found["errors"], found["warnings"]) == (0, 3)
    assert [(one["code"], one["subject"], one["date"]) for one in found["findings"]] == [
        ("backend_due", "soon", day(12)),
        ("backend_ended", "gone", day(-3)),
        ("provider_unknown", "cloud", None),
    ]
    assert all(one["remedy"] for one in found["findings"])

    publish(terminal, 3, *backends, proof={}, backends=["gone"])
    in_force(terminal, 3)
    assert "no backend can serve rule all (gone: public work: its life ended on" in terminal.says("doctor", code=1)
    with running.without_store():
        said = terminal.says("doctor", code=1)
    assert "intake is not ready: object store" in said
    assert "bring back object store" in said
    terminal.environment["CALOTYPE_URL"] = "http://127.0.0.1:9"
    assert "does not answer" in terminal.says("doctor", code=1)


def test_a_routing_table_is_rolled_back_by_one_command_and_in_force_within_seconds(terminal: Terminal) -> None:
    assert "its only version" in terminal.says("library", "rollback", "routes", code=1)
    publish(terminal, 2, proof={"enabled": False})
    assert not in_force(terminal, 2)["routable"]
    said = terminal.says("library", "rollback", "routes")
    began = datetime.now(UTC)
    assert said.strip() == "published routes default@3: what default@1 said, instead of default@2"
    assert in_force(terminal, 3)["routable"]
    assert datetime.now(UTC) - began < timedelta(seconds=10)
    sent = terminal.told("submit", terminal.write("one.json", json.dumps(ask())), "--wait")
    assert sent["statuses"] == {"completed": 1}

    back = terminal.told("library", "rollback", "routes", "default", "--to", "2")
    assert back == {"published": "default@4", "content_of": "default@2", "instead_of": "default@3"}
    assert not in_force(terminal, 4)["routable"]
    assert "versions before it: 3, 2, 1" in terminal.says("library", "rollback", "routes", "--to", "9", code=1)
    assert "There is nothing of kind" in terminal.says("library", "rollback", "route", code=1)
