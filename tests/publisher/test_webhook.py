"""The webhook target and a receiver after the same specification: what is sent, and what each answer means."""

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from services.publisher.settings import PublisherSettings
from services.publisher.targets import Busy, Outside, Uncertain, open_target
from services.publisher.targets.outside import read_secret
from services.publisher.targets.webhook import WebhookTarget, message, sign
from shared.errors import Rejected, Unavailable
from shared.events import Verified
from tests.publisher.builders import WORKSPACE, approved, delivery, reader, target_document
from tests.servers.receiver import NEW_SECRET, OLD_SECRET, Receiver, receiving

LOOPBACK = ip_network("127.0.0.0/8")
OUTSIDE = Outside(secrets={"new": read_secret(NEW_SECRET), "old": read_secret(OLD_SECRET)}, networks=[LOOPBACK])


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as running:
        yield running


def webhook(url: str, *, outside: Outside = OUTSIDE, **settings: Any) -> WebhookTarget:
    document = target_document(type="webhook", settings={"url": url, "secrets": ["new"]} | settings)
    target = open_target(document, workspace=WORKSPACE, publish_folder=Path(), outside=outside)
    assert isinstance(target, WebhookTarget)
    return target


def now() -> datetime:
    return datetime.now(UTC)


async def send(url: str, **settings: Any) -> Any:
    target = webhook(f"{url}/hooks/site", **settings)
    try:
        return await target.deliver(delivery().at(now()), read=reader())
    finally:
        await target.close()


async def test_the_message_is_complete_in_itself_and_the_receipt_is_its_hash(receiver: Receiver) -> None:
    delivered = await send(receiver.url)
    body = message(delivery())
    (line,) = receiver.lines()
    assert (line["effect"], line["webhook_id"]) == (True, str(delivery().publication_id))
    assert line["body_sha256"] == hashlib.sha256(body).hexdigest()
    (receipt,) = delivered.receipts
    assert (delivered.verified, receipt.sha256) == (Verified.ACKNOWLEDGED, line["body_sha256"])
    said = json.loads(body)
    assert (said["type"], said["timestamp"]) == ("AssetApproved", "2026-11-20T14:02:00Z")
    assert said["data"].items() >= json.loads(approved().body()).items()
    assert all({"url", "media_type", "bytes", "sha256"} <= set(file) for file in said["data"]["files"])


def test_a_signature_is_what_the_specification_computes() -> None:
    headers = sign(b'{"a":1}', keys=[b"k" * 32, b"l" * 32], webhook_id="msg_1", at=datetime(2026, 1, 2, tzinfo=UTC))
    signed = b'msg_1.1767312000.{"a":1}'
    wanted = [base64.b64encode(hmac.new(key * 32, signed, hashlib.sha256).digest()).decode() for key in (b"k", b"l")]
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1767312000",
        "webhook-signature": f"v1,{wanted[0]} v1,{wanted[1]}",
    }


async def test_while_keys_are_rotated_the_receiver_may_know_either(receiver: Receiver) -> None:
    for known in ([OLD_SECRET], [NEW_SECRET]):
        receiver.script(secrets=known)
        await send(receiver.url, secrets=["new", "old"])
    receiver.script(secrets=[OLD_SECRET])
    with pytest.raises(Rejected):
        await send(receiver.url, secrets=["new"])
    assert receiver.effects().total() == 1


@pytest.mark.parametrize("choice", ["ok", "409", "endless"])
async def test_taken_and_taken_already_are_delivered(receiver: Receiver, choice: str) -> None:
    receiver.script(weights={choice: 1})
    assert (await send(receiver.url)).verified is Verified.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("choice", "meaning"),
    [
        ("500", Uncertain),
        ("500_taken", Uncertain),
        ("reply_lost", Uncertain),
        ("reset", Uncertain),
        ("hang", Uncertain),
        ("503", Unavailable),
        ("429", Busy),
        ("400", Rejected),
        ("410", Rejected),
        ("redirect", Rejected),
    ],
)
async def test_what_an_answer_says_about_the_effect(receiver: Receiver, choice: str, meaning: type[Exception]) -> None:
    receiver.script(weights={choice: 1})
    with pytest.raises(meaning):
        await send(receiver.url, timeout_seconds=0.5)
    assert len(receiver.lines()) == 1  # one POST, and nowhere else


async def test_a_pause_that_is_asked_for_is_passed_on_and_has_a_bound(receiver: Receiver) -> None:
    for asked, kept in ((7, 7), (10**9, 3600)):
        receiver.script(weights={"429": 1}, retry_after=asked)
        with pytest.raises(Busy) as busy:
            await send(receiver.url)
        assert busy.value.seconds == kept
    date = now() + timedelta(seconds=90)
    receiver.script(retry_after=date.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    with pytest.raises(Busy) as busy:
        await send(receiver.url)
    assert 60 < busy.value.seconds <= 90


async def test_who_is_gone_is_to_be_switched_off(receiver: Receiver) -> None:
    receiver.script(weights={"410": 1})
    with pytest.raises(Rejected) as gone:
        await send(receiver.url)
    assert (gone.value.code, "switch site off" in gone.value.remedy) == ("gone", True)


async def test_nobody_listening_took_nothing() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable):
            await send(f"http://127.0.0.1:{closed.getsockname()[1]}")


@pytest.mark.parametrize(
    ("address", "scheme", "allowed"),
    [
        ("93.184.215.14", "https", True),
        ("2606:2800:21f:cb07::1", "https", True),
        ("93.184.215.14", "http", False),
        ("127.0.0.1", "http", True),
        ("127.0.0.1", "https", True),
        ("::ffff:127.0.0.1", "https", True),
        ("10.0.0.1", "https", False),
        ("192.168.1.1", "https", False),
        ("169.254.169.254", "https", False),
        ("100.64.0.1", "https", False),
        ("0.0.0.0", "https", False),
        ("224.0.0.1", "https", False),
        ("::1", "https", False),
        ("fe80::1", "https", False),
        ("fd00::1", "https", False),
        ("::ffff:10.0.0.1", "https", False),
        ("64:ff9b::a00:1", "https", False),
        ("2002:a00:1::", "https", False),
    ],
)
def test_only_public_and_listed_addresses_are_reached(address: str, scheme: str, *, allowed: bool) -> None:
    assert OUTSIDE.allows(ip_address(address), scheme=scheme) is allowed


async def test_a_name_of_this_machine_is_refused_where_the_operator_lists_no_network(receiver: Receiver) -> None:
    closed = Outside(secrets=OUTSIDE.secrets)
    target = webhook(receiver.url.replace("127.0.0.1", "localhost") + "/hooks/site", outside=closed)
    with pytest.raises(Rejected) as refused:
        await target.deliver(delivery().at(now()), read=reader())
    await target.close()
    assert (refused.value.code, receiver.lines()) == ("address_refused", [])


async def test_the_address_that_was_checked_is_the_one_that_is_reached(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers differently the second time (DNS rebinding) is not asked a second time."""
    target = webhook(receiver.url.replace("127.0.0.1", "hooks.example") + "/hooks/site")
    asked = []

    async def once(self: Outside, host: str, port: int, *, scheme: str) -> str:
        asked.append(host)
        return "127.0.0.1"

    monkeypatch.setattr(Outside, "address_of", once)
    await target.deliver(delivery().at(now()), read=reader())
    await target.close()
    assert asked == ["hooks.example"]
    assert receiver.effects().total() == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "https://dam.example/x"},
        {"url": "https://dam.example/x", "secrets": []},
        {"url": "https://dam.example/x", "secrets": ["whsec_c2VjcmV0"]},
        {"url": "ftp://dam.example/x", "secrets": ["new"]},
        {"url": "https://me:pass@dam.example/x", "secrets": ["new"]},
        {"url": "https:///x", "secrets": ["new"]},
        {"url": "nonsense", "secrets": ["new"]},
        {"url": "https://xn--0/x", "secrets": ["new"]},
        {"url": "https://dam.example/x", "secrets": ["new"], "colour": "red"},
        {"url": "https://dam.example/x", "secrets": ["new"], "give_up_hours": 0},
    ],
)
def test_settings_nothing_can_be_sent_by_are_refused_by_name(settings: dict[str, Any]) -> None:
    document = target_document(type="webhook", settings=settings)
    with pytest.raises(Rejected) as refused:
        open_target(document, workspace=WORKSPACE, publish_folder=Path(), outside=OUTSIDE)
    assert (refused.value.code, refused.value.where) == ("target_settings", "site@1")


def test_a_secret_that_the_operator_has_yet_to_set_is_waited_for() -> None:
    with pytest.raises(Unavailable) as missing:
        webhook("https://dam.example/x", secrets=["new", "next"])
    assert "secret next" in str(missing.value)


def test_a_workspace_signs_with_its_own_secret_first_and_never_with_anothers() -> None:
    other = "00000000-0000-4000-8000-000000000001"
    outside = Outside(secrets={f"{WORKSPACE}/dam": b"ours", "dam": b"everybody's", f"{other}/theirs": b"theirs"})
    assert outside.secret("dam", workspace=WORKSPACE) == b"ours"
    with pytest.raises(Unavailable):
        outside.secret("theirs", workspace=WORKSPACE)


def test_secrets_come_from_the_environment_and_a_wrong_one_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CALOTYPE_TARGET_SECRETS__DAM_2026", NEW_SECRET)
    monkeypatch.setenv("CALOTYPE_TARGET_NETWORKS", '["127.0.0.0/8"]')
    settings = PublisherSettings()
    assert settings.webhook_keys == {"dam_2026": read_secret(NEW_SECRET)}
    assert NEW_SECRET not in repr(settings) and settings.target_networks == [LOOPBACK]
    monkeypatch.setenv("CALOTYPE_TARGET_SECRETS__DAM_2026", "whsec_dG9vIHNob3J0")
    with pytest.raises(ValueError, match="dam_2026") as refused:
        PublisherSettings()
    assert "dG9vIHNob3J0" not in str(refused.value)


def test_the_guides_ten_lines_take_what_is_signed_and_nothing_else() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/webhooks.md").read_text()
    names: dict[str, Any] = {}
    exec(guide.split("```python\n")[1].split("```")[0], names)  # what receivers copy
    body = message(delivery())
    headers = sign(body, keys=[read_secret(NEW_SECRET), read_secret(OLD_SECRET)], webhook_id="p1", at=now())
    for secret in (NEW_SECRET, OLD_SECRET):
        assert names["verify"](headers, body, secret) == "p1"
    old = sign(body, keys=[read_secret(NEW_SECRET)], webhook_id="p1", at=now() - timedelta(hours=1))
    for wrong in (
        (headers, body + b" ", NEW_SECRET),
        (headers | {"webhook-id": "p2"}, body, NEW_SECRET),
        (headers, body, "whsec_" + base64.b64encode(b"somebody else's key of 32 bytes.").decode()),
        (old, body, NEW_SECRET),
    ):
        with pytest.raises(ValueError, match="not signed"):
            names["verify"](*wrong)
