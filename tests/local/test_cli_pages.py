from typing import Any, cast

import pytest

from deploy.cli.assets import drawn
from deploy.cli.client import Client
from deploy.cli.pages import pages, refusals
from deploy.cli.terminal import Terminal, plain_console


class Answers:
    """Seven things, so many an answer as are asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        many, after = body["limit"], body["after"]
        self.asked.append((after, many))
        found = list(range(7))[after : after + many]
        return {"things": found, "next": after + many if after + many < 7 else None}


@pytest.mark.parametrize(
    ("limit", "found", "asked"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6], [(0, 3), (3, 3), (6, 3)]),
        (4, [0, 1, 2, 3], [(0, 3), (3, 1)]),
        (3, [0, 1, 2], [(0, 3)]),
    ],
)
def test_page_after_page_is_asked_for_until_the_last_or_the_limit(
    limit: int | None, found: list[int], asked: list[tuple[int, int]]
) -> None:
    answers = Answers()
    read = pages(cast(Client, answers), "/v1/things", {}, size=3, limit=limit)
    assert [thing for page in read for thing in page["things"]] == found
    assert answers.asked == asked


def test_what_was_refused_is_told_by_reason_with_the_one_it_is_about() -> None:
    told = [
        {"asset_id": name, "why": why, "remedy": "wait"} for name, why in (("a", "new"), ("b", "old"), ("c", "old"))
    ]
    table = refusals(told, id="asset_id", many="assets")
    assert [list(column.cells) for column in table.columns] == [
        ["2 assets\nb\nc", "a"],
        ["old", "new"],
        ["wait", "wait"],
    ]


def test_many_that_are_refused_alike_are_one_line_though_the_remedy_names_each() -> None:
    told = [{"asset_id": name, "why": "being made", "remedy": f"wait; calotype trace {name}"} for name in "1234"]
    table = refusals(told, id="asset_id", many="assets")
    assert [list(column.cells) for column in table.columns] == [
        ["4 assets\n1\n2\n3\n…"],
        ["being made"],
        ["wait; calotype trace ASSET"],
    ]
    (alone,) = refusals(told[:1], id="asset_id", many="assets").columns[2].cells
    assert alone == "wait; calotype trace 1"


def test_brackets_and_colons_in_strangers_words_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    words = "cannot write [/srv/x]: [red]the shop[/] said :smile:"
    place = {"state": "failed", "target": "[shop]", "detail": words}
    found = {"versions": [], "reruns": [], "publications": [place], "asset_id": "an-asset", "status": "approved"}
    plain_console().print(drawn(found))
    plain_console().print(words)
    Terminal().step("in [/srv/x]")
    printed = capsys.readouterr().out
    assert printed.count(words) == 2
    assert "[shop]: cannot" in printed
    assert "in [/srv/x]" in printed
