"""The scripted provider: what it counts is what it did, and the same seed does the same."""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.servers.provider import Provider

WEIGHTS = {"ok": 5.0, "429": 2.0, "500": 2.0, "empty": 1.0}


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    with Provider(tmp_path) as running:
        running.script.hang_seconds = 0.2
        yield running


def ask(provider: Provider, attempt: str = "a", **fields: Any) -> httpx.Response:
    return httpx.post(
        f"{provider.url}/images/generations",
        headers={"Authorization": "Bearer sk-test", "X-Client-Request-Id": attempt},
        json={"model": "m", "prompt": "p", "size": "48x32"} | fields,
        timeout=10,
    )


def test_a_picture_is_real_of_the_asked_size_and_never_the_same_twice(provider: Provider) -> None:
    answers = [ask(provider) for _ in range(2)]
    pictures = [base64.b64decode(answer.json()["data"][0]["b64_json"]) for answer in answers]
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as image:
            image.load()
            assert (image.format, image.size) == ("PNG", (48, 32))
    assert pictures[0] != pictures[1]
    assert answers[0].headers["x-request-id"] != answers[1].headers["x-request-id"]


@pytest.mark.parametrize("choice", Provider.choices())
def test_every_choice_is_a_call_and_only_charged_ones_are_charges(provider: Provider, choice: str) -> None:
    provider.script.change({"next": [choice], "slow_seconds": 0})
    try:
        ask(provider, attempt=choice)
    except httpx.TransportError:
        assert choice in {"hang", "charge_then_hang", "reset", "charge_then_reset", "cut_body"}
    charges = (choice in Provider.charged) + (choice == "two_images")
    assert [call["choice"] for call in provider.calls()] == [choice]
    assert [charge["attempt_id"] for charge in provider.charges()] == [choice] * charges
    assert ask(provider).status_code == 200, "the script's weights count again"


def test_the_same_seed_makes_the_same_choices_and_a_restart_goes_on(tmp_path: Path) -> None:
    def choices(folder: Path, stops: list[int]) -> list[str]:
        for many in stops:
            with Provider(folder, seed=3, weights=WEIGHTS) as provider:
                for _ in range(many):
                    ask(provider)
        return [call["choice"] for call in provider.calls()]

    first = choices(tmp_path / "a", [12])
    assert choices(tmp_path / "b", [5, 7]) == first
    assert len(set(first)) > 1


def test_a_seed_is_refused_unless_the_server_takes_one(provider: Provider) -> None:
    assert ask(provider, seed=7).json()["error"]["code"] == "unknown_parameter"
    httpx.put(provider.url.removesuffix("/v1") + "/script", json={"takes_seed": True}).raise_for_status()
    assert ask(provider, seed=7).status_code == 200
    assert len(provider.calls()) == 1, "what was not understood is no call"


def test_an_unknown_choice_is_refused_and_changes_nothing(provider: Provider) -> None:
    script = provider.url.removesuffix("/v1") + "/script"
    assert httpx.put(script, json={"weights": {"explode": 1}, "retry_after": 9}).status_code == 400
    assert httpx.get(script).json()["retry_after"] == 1


def test_it_is_a_program_that_says_where_it_listens(tmp_path: Path) -> None:
    words = [*("--ledgers", str(tmp_path)), *("--weights", json.dumps({"moderation": 1}))]
    program = [sys.executable, "-m", "tests.servers.provider", *words]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = httpx.post(
            f"{url}/images/generations",
            headers={"Authorization": "Bearer k"},
            json={"model": "m", "prompt": "p", "size": "8x8"},
        )
        process.terminate()
    assert answer.json()["error"]["code"] == "moderation_blocked"
