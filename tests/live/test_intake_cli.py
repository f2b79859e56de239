"""The verbs of intake in a terminal, against everything running."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.servers import EmbeddedServers
from tests.live.pipeline import LIBRARY, Pipeline, ask, pipeline, sheet
from tests.live.terminal import Terminal
from tests.postprocess.pictures import plain, written

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def running(servers: EmbeddedServers) -> Iterator[Pipeline]:
    with pipeline(servers) as everything:
        yield everything


@pytest.fixture
def terminal(running: Pipeline, tmp_path: Path) -> Terminal:
    return Terminal(running, tmp_path)


def test_a_library_is_checked_with_file_and_line_and_published_whole(terminal: Terminal) -> None:
    terminal.write_library(LIBRARY)
    campaign = (terminal.folder / "library/campaign.yaml").read_text()
    terminal.write("library/campaign.yaml", campaign.replace("template: tile", "template: tiel"))
    faulty = terminal.says("library", "lint", "library", code=1)
    line = 1 + campaign.splitlines().index("    template: tile")
    assert f"campaign.yaml:{line}:" in faulty and "did you mean tile" in faulty
    refused = terminal.says("library", "publish", "library", code=1)
    assert f"campaign.yaml:{line}:" in refused and "Nothing was published" in refused
    assert terminal.told("library", "list") == []

    terminal.write("library/campaign.yaml", campaign)
    assert "8 documents, 0 findings" in terminal.says("library", "lint", "library")
    assert "8 published, 0 were before" in terminal.says("library", "publish", "library")
    assert "0 published, 8 were before" in terminal.says("library", "publish", "library")
    assert json.loads(terminal.says("library", "show", "campaign", "winter@1"))["title"] == "Winter"
    assert "no recipe nothing" in terminal.says("library", "show", "recipe", "nothing", code=1)


def test_a_file_is_looked_through_sent_repaired_and_waited_for(terminal: Terminal) -> None:
    terminal.publish(LIBRARY)
    good = sheet("row", rows=3).decode()
    terminal.write("rows.csv", good + "\nbad,winter,tile,,tv\n")
    seen = terminal.says("batch", "preview", "rows.csv", code=1)
    assert "4 rows: 3 good, 1 refused" in seen and "3 jobs (3 tile)" in seen
    assert "did you mean" in seen or "web" in seen
    assert terminal.told("batch", "list") == []
    repaired = (terminal.folder / "errors.csv").read_text().replace(",tv,", ",web,")
    terminal.write("repaired.csv", repaired)

    sent = terminal.run("submit", "rows.csv", "--wait", "--json")
    assert sent.code == 1, "one row was refused"
    assert json.loads(sent.out)["statuses"] == {"completed": 3}
    again = terminal.told("submit", "repaired.csv", "--wait")
    assert (again["accepted"], again["statuses"]) == (1, {"completed": 4})
    assert "3 unchanged" in terminal.says("batch", "send", "rows.csv", code=1)
    (batch,) = terminal.told("batch", "list")
    assert "expanded" in terminal.says("batch", "show", batch["batch_id"])
    assert "Asked for an end" in terminal.says("batch", "cancel", batch["batch_id"])


def test_a_request_is_sent_once_however_often(terminal: Terminal) -> None:
    terminal.publish(LIBRARY)
    terminal.write("one.json", json.dumps(ask(variants=2)))
    first = terminal.told("submit", "one.json", "--wait")
    again = terminal.told("submit", "one.json")
    assert first["statuses"] == {"completed": 2} and again["jobs"] == first["jobs"]
    other = terminal.told("submit", "one.json", "--key", "another")
    assert other["request_id"] != first["request_id"]
    terminal.write("wrong.json", json.dumps(ask() | {"campain": "x"}))
    assert "did you mean campaign?" in terminal.says("submit", "wrong.json", code=1)


def test_keys_links_and_limits(terminal: Terminal) -> None:
    token = terminal.says("key", "create", "rita", "--role", "requester").strip()
    assert "/sign-in?token=" in terminal.says("link", "/review")
    (rita,) = [key for key in terminal.told("key", "list") if key["principal"] == "rita"]
    owner = terminal.environment["CALOTYPE_KEY"]
    terminal.environment["CALOTYPE_KEY"] = token
    assert "may not publish" in terminal.says("library", "publish", str(ROOT / "deploy/library"), code=1)
    terminal.environment["CALOTYPE_KEY"] = owner
    terminal.says("key", "revoke", rita["key_id"])
    terminal.environment["CALOTYPE_KEY"] = token
    assert "needs a key" in terminal.says("library", "list", code=1)
    workspaces = terminal.told("workspace", "list")
    (mine,) = [one["workspace"] for one in workspaces if one["name"] == terminal.folder.name]
    terminal.says("workspace", "limit", mine, "--jobs-per-day", "3")
    assert "jobs_per_day 3" in terminal.says("workspace", "list")


def test_where_nothing_runs_the_way_to_start_it_is_said(terminal: Terminal, tmp_path: Path) -> None:
    terminal.environment["CALOTYPE_DATA"] = str(tmp_path / "nothing")
    assert "calotype up" in terminal.says("library", "list", code=1)
    terminal.environment["CALOTYPE_URL"] = "http://127.0.0.1:9"
    assert "does not answer" in terminal.says("library", "list", code=1)


def test_a_picture_is_added_once_and_one_that_cannot_be_is_refused_with_a_remedy(terminal: Terminal) -> None:
    terminal.write("photo.jpg", written(plain(40, 30), "JPEG"))
    added = terminal.told("source", "add", "photo.jpg")
    assert (added["media_type"], added["width"], added["height"]) == ("image/png", 40, 30)
    assert terminal.says("source", "add", "photo.jpg").splitlines()[0] == added["source_id"]
    assert added["source_id"] in terminal.says("source", "list")
    terminal.says("source", "delete", added["source_id"])
    assert terminal.told("source", "list") == {"sources": [], "used": 0, "limit": None}
    assert "calotype source list" in terminal.says("source", "delete", str(uuid4()), code=1)
    terminal.write("photo.gif", written(plain(), "GIF"))
    assert "export it as one of these" in terminal.says("source", "add", "photo.gif", code=1)
    terminal.write("huge.png", bytes(30 * 2**20))
    assert "scale it down" in terminal.says("source", "add", "huge.png", code=1)
    assert "503" not in terminal.says("source", "add", "huge.png", code=1)
