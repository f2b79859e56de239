"""`calotype outliers`: a set in a line, and each picture that is apart with its sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from deploy.cli import app, outliers
from deploy.cli.client import Client

DARK: dict[str, Any] = {"asset_id": "a-1", "score": 7.5, "why": ["darker than the rest of the set: 0.20, median 0.52"]}
TILES: dict[str, Any] = {
    "asset_type": "product-tile",
    "assets": 43,
    "measures": {"exposure": {"assets": 43, "median": 0.52, "deviation": 0.03}},
    "outliers": [DARK],
}
FEW = {"asset_type": "hero", "assets": 3, "measures": {}, "outliers": []}


@pytest.mark.parametrize(
    ("sets", "lines"),
    [
        ([TILES], ["product-tile: 43 pictures, 1 apart; exposure 0.52 ± 0.03", "a-1", "7.5", DARK["why"][0]]),
        ([TILES | {"outliers": []}], ["43 pictures, none apart"]),
        ([FEW], ["hero: 3 pictures, too few to compare"]),
        ([], ["Nothing of winter was measured yet."]),
    ],
)
def test_a_campaign_is_told_set_by_set(
    monkeypatch: pytest.MonkeyPatch, sets: list[dict[str, Any]], lines: list[str]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.url.path, dict(request.url.params)) == ("/v1/assets/statistics", {"campaign": "winter"})
        return httpx.Response(200, json={"campaign": "winter", "apart_from": 3.5, "sets": sets})

    @contextmanager
    def connected(*_: Any, **__: Any) -> Iterator[Client]:
        with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://calotype") as http:
            yield Client(http)

    monkeypatch.setattr(outliers, "connected", connected)
    found = CliRunner().invoke(app, ["outliers", "winter"])
    assert found.exit_code == 0, found.output
    for line in lines:
        assert str(line) in found.output
