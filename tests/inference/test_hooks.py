"""Word from a provider: believed where it is signed, and only that there is news."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.inference.app import open_backends
from services.inference.backends import replicate
from services.inference.backends.exchange import Provider
from services.inference.backends.replicate import ReplicateBackend
from services.inference.hooks import Wakes, is_signed
from services.inference.settings import InferenceSettings, ProviderSettings
from shared.library.documents import Call
from tests.inference.generations import WORK
from tests.servers.replicate import Replicate

# The example by which Standard Webhooks' verification is published.
SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
BODY = b'{"event_type":"ping","data":{"success":true}}'
SIGNATURE = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
HEADERS = {"webhook-id": "msg_loFOjxBNrRLzqYUf", "webhook-timestamp": "1731705121", "webhook-signature": SIGNATURE}
REPLICATE = {"kind": "replicate", "url": "https://api.replicate.com/v1", "key": "r8_x"}
TOLD = REPLICATE | {"webhook_url": "https://images.example.com/", "webhook_secret": SECRET}
KEY = ProviderSettings.model_validate(TOLD).webhook_key


@pytest.mark.parametrize("signature", [SIGNATURE, f"v1,AAAA {SIGNATURE}", f"{SIGNATURE} v1a,of another kind"])
def test_one_signature_of_ours_is_enough(signature: str) -> None:
    assert is_signed(BODY, HEADERS | {"webhook-signature": signature}, key=KEY)


@pytest.mark.parametrize("name", HEADERS)
def test_whatever_was_signed_is_as_it_was_or_nothing_is_believed(name: str) -> None:
    assert not is_signed(BODY, HEADERS | {name: HEADERS[name][:-2] + "1="}, key=KEY)
    assert not is_signed(BODY, {other: text for other, text in HEADERS.items() if other != name}, key=KEY)
    assert not is_signed(BODY + b" ", HEADERS, key=KEY)
    assert not is_signed(BODY, HEADERS, key=KEY[:-1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook_url": None},
        {"webhook_secret": ""},
        {"webhook_secret": "whsec_no base64!"},
        {"webhook_secret": "whsec_"},
        {"kind": "stability"},
    ],
)
def test_half_a_webhook_is_refused(wrong: dict[str, str | None]) -> None:
    with pytest.raises(ValidationError, match="webhook_") as caught:
        ProviderSettings.model_validate(TOLD | wrong)
    assert "no base64" not in str(caught.value.errors(include_input=False))


def test_a_prediction_names_where_it_is_told_of_only_where_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOTYPE_PROVIDERS", json.dumps({"cog": TOLD, "silent": REPLICATE}))
    monkeypatch.setenv("CALOTYPE_PROOF_CHILDREN", "0")
    backend = open_backends(InferenceSettings(), Wakes())["replicate"]
    assert isinstance(backend, ReplicateBackend)
    asked = {
        provider: backend.request_of(replace(WORK, model="a/b", call=Call(provider=provider)))
        for provider in ("cog", "silent")
    }
    body = json.loads(asked["cog"].content)
    assert body.pop("webhook") == f"https://images.example.com/v1/hooks/replicate/cog/{WORK.attempt_id}"
    assert body.pop("webhook_events_filter") == ["completed"]
    assert body == json.loads(asked["silent"].content)
    assert asked["cog"].told == asked["silent"].told, "nothing of it is in the picture's history"


async def test_who_waits_is_woken_by_word_of_their_own_attempt_alone() -> None:
    wakes = Wakes()
    mine, theirs = (asyncio.create_task(wakes.wait(UUID(int=number), 60)) for number in (1, 2))
    await asyncio.sleep(0)
    for strange in ("no id", str(UUID(int=3)), str(UUID(int=1))):
        wakes.wake(strange)
    await mine
    assert not theirs.done()
    theirs.cancel()
    await wakes.wait(UUID(int=1), 0.001)


async def test_word_ends_the_wait_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicate, "FIRST_LOOK", 3600.0)
    wakes = Wakes()
    waiting = asyncio.Event()

    async def wait(attempt: UUID, seconds: float) -> None:
        asyncio.get_running_loop().call_soon(waiting.set)
        await wakes.wait(attempt, seconds)

    with Replicate(tmp_path) as server:
        backend = ReplicateBackend({"cog": Provider(url=server.url, key="r8_x")}, wait=wait)
        work = replace(WORK, model="a/b", call=Call(provider="cog"))
        making = asyncio.create_task(backend.generate(work, progress=lambda *_: None, cancelled=lambda: False))
        await waiting.wait()
        assert not server.looked
        wakes.wake(str(WORK.attempt_id))
        assert (await making).image
        assert len(server.looked) == 1
        await backend.close()
