"""The scripted receiver that other tests and the fault runs believe: it must refuse, forget nothing and count right."""

import base64
import hashlib
import hmac
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.receiver import NEW_SECRET, OLD_SECRET, Receiver, receiving

BODY = json.dumps({"type": "AssetApproved", "data": {"asset_version_id": "v1"}}).encode()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as running:
        yield running


def signed(webhook_id: str, *, secrets: tuple[str, ...] = (NEW_SECRET,), at: float | None = None) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    message = f"{webhook_id}.{timestamp}.".encode() + BODY
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    signatures = [base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def post(url: str, webhook_id: str = "p1", *, target: str = "site", **how: Any) -> int | None:
    """The status, None where no answer came."""
    try:
        answer = httpx.post(f"{url}/hooks/{target}", content=BODY, headers=signed(webhook_id, **how), timeout=5)
    except httpx.TransportError:
        return None
    return answer.status_code


def test_a_delivery_that_comes_again_has_one_effect_and_two_lines(receiver: Receiver) -> None:
    assert [post(receiver.url) for _ in range(2)] == [200, 200]
    assert receiver.effects() == {"p1": 1}
    first, second = receiver.lines()
    assert (first["target"], first["webhook_id"], first["asset_version_id"]) == ("site", "p1", "v1")
    assert first["body_sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (first["effect"], second["effect"]) == (True, False)


@pytest.mark.parametrize("secrets", [(OLD_SECRET,), (NEW_SECRET,), ("whsec_YWxpZW4=", NEW_SECRET)])
def test_any_signature_of_an_accepted_key_is_enough(receiver: Receiver, secrets: tuple[str, ...]) -> None:
    assert post(receiver.url, secrets=secrets) == 200


def test_an_alien_key_a_retired_key_and_an_old_timestamp_have_no_effect(receiver: Receiver) -> None:
    assert post(receiver.url, secrets=("whsec_YWxpZW4=",)) == 401
    assert post(receiver.url, at=time.time() - 3600) == 401
    receiver.script(secrets=[NEW_SECRET])
    assert post(receiver.url, secrets=(OLD_SECRET,)) == 401
    assert receiver.effects() == {}


@pytest.mark.parametrize(
    ("choice", "answer", "effects"),
    [
        ("ok", 200, 1),
        ("409", 409, 1),
        ("reply_lost", None, 1),
        ("500_taken", 500, 1),
        ("500", 500, 0),
        ("429", 429, 0),
        ("410", 410, 0),
        ("400", 400, 0),
        ("reset", None, 0),
        ("redirect", 302, 0),
    ],
)
def test_each_choice_answers_and_takes_as_it_says(
    receiver: Receiver, choice: str, answer: int | None, effects: int
) -> None:
    receiver.script(weights={choice: 1})
    assert post(receiver.url) == answer
    assert receiver.effects().total() == effects
    assert [line["answered"] for line in receiver.lines()] == [answer]


def test_a_target_that_is_down_answers_nothing_and_leaves_the_others_alone(receiver: Receiver) -> None:
    receiver.script(target="dam", down=True)
    assert (post(receiver.url, target="dam"), post(receiver.url, target="site")) == (None, 200)
    receiver.script(target="dam", down=False)
    assert post(receiver.url, target="dam") == 200


def test_the_same_seed_chooses_the_same_whatever_came_between(tmp_path: Path) -> None:
    seen: list[dict[int, int | None]] = []
    for order in (range(20), reversed(range(20))):
        folder = tmp_path / str(len(seen))
        with receiving(folder, seed=7) as receiver:
            receiver.script(weights={"ok": 1, "500": 1})
            seen.append({number: post(receiver.url, f"p{number}") for number in order})
    assert seen[0] == seen[1]
    assert set(seen[0].values()) == {200, 500}


def test_as_a_program_it_takes_its_script_and_remembers_after_a_kill(tmp_path: Path) -> None:
    for tries in (1, 2):
        command = [sys.executable, "-m", "tests.servers.receiver", "--ledgers", str(tmp_path), "--seed", "3"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            url = program.stdout.readline().strip()
            assert httpx.get(f"{url}/livez").status_code == 200
            assert httpx.put(f"{url}/script", json={"weights": {"409": 1}}).status_code == 204
            assert httpx.put(f"{url}/script", json={"weights": {"nonsense": 1}}).status_code == 422
            assert post(url) == 409
            program.send_signal(signal.SIGKILL)
        lines = Receiver(tmp_path / "deliveries.jsonl").lines()
        assert [line["effect"] for line in lines] == [True, False][:tries]
