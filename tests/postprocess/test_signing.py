import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from pydantic import ValidationError
from structlog.testing import capture_logs

from services.postprocess.app import signer_of
from services.postprocess.children import Children
from services.postprocess.handler import work_of
from services.postprocess.ordering import order
from services.postprocess.settings import PostprocessSettings
from services.postprocess.signing import BadKey, Chain, KeySigner, RemoteSigner
from shared.errors import Unavailable
from tests.postprocess.development import developed
from tests.postprocess.images import generated
from tests.postprocess.signed import OURS, keys
from tests.postprocess.test_worker import Bench, lease_of

KEYS: dict[str, Any] = {
    "es256": ec.generate_private_key(ec.SECP256R1()),
    "es384": ec.generate_private_key(ec.SECP384R1()),
    "es512": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ps256": rsa.generate_private_key(65537, 2048),
}


def certificate(key: Any, *, days: int = 1, since: int = -9) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a signer")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = (
        built.serial_number(7).not_valid_before(now + timedelta(days=since)).not_valid_after(now + timedelta(days=days))
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return built.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


def pem(key: Any) -> str:
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode()


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_key_signs_in_the_form_that_its_kind_has_in_a_claim(algorithm: str) -> None:
    key = KEYS[algorithm]
    signer = KeySigner(Chain.read(certificate(key)), pem(key))
    assert signer.chain.algorithm == algorithm
    signature = await signer.sign(b"a claim")
    assert len(signature) == {"es256": 64, "es384": 96, "es512": 132, "ed25519": 64, "ps256": 256}[algorithm]
    signer.chain.check(b"a claim", signature)
    with pytest.raises(Unavailable, match="not by its certificate"):
        signer.chain.check(b"another claim", signature)


@pytest.mark.parametrize(("since", "days"), [(-9, -1), (1, 9)])
async def test_a_certificate_that_is_over_or_not_yet_valid_signs_nothing_and_the_work_waits(
    tmp_path: Path, since: int, days: int
) -> None:
    key = KEYS["es256"]
    signer = KeySigner(Chain.read(certificate(key, since=since, days=days)), pem(key))
    with pytest.raises(Unavailable, match="is not valid now"):
        await signer.sign(b"a claim")
    # Nothing goes out unsigned meanwhile: the worker hands no picture to a child.
    bench = Bench(tmp_path, developed())
    children = Children(count=1, signer=signer)
    event = generated(b"original")
    await bench.hold(event, b"original")
    processor = replace(bench.processor, children=children, chain=signer.chain)
    with pytest.raises(Unavailable, match="is not valid now"):
        await processor.run(lease_of(work_of(event)))
    assert children.pids == []


async def test_an_issuer_that_is_over_is_said_at_start_and_by_readyz_and_signs_nothing() -> None:
    key = KEYS["es256"]
    for pems, whose in (
        ([certificate(key), certificate(key, days=-1)], "issuer's certificate"),
        ([certificate(key, days=-1)], "its certificate"),
        ([certificate(key), certificate(key, days=5)], None),
    ):
        signer = KeySigner(Chain.read("".join(pems)), pem(key))
        with capture_logs() as said:
            await signer.start()
        why = await signer.chain.ready()
        if whose is None:
            assert (why, [line["event"] for line in said]) == (None, ["signing.ready"])
            assert await signer.sign(b"a claim")
            continue
        assert whose in (why or "") and "is not valid now" in (why or "")
        assert [(line["event"], line["log_level"], line["cause"]) for line in said] == [
            ("signing.not_valid", "error", why)
        ]
        with pytest.raises(Unavailable, match="is not valid now"):
            await signer.sign(b"a claim")


def test_a_key_in_the_same_file_as_its_certificate_is_told_to_nobody() -> None:
    certificates, key = OURS().certificates, OURS().key
    for both in (key + certificates, certificates + key):
        for chain in (Chain.read(both), Chain.read(both, anchors=both)):
            told = str(order(generated(b"original"), {}, proxies=(), chain=chain))
            assert "BEGIN CERTIFICATE" in told
            assert not [text for text in (chain.pem, chain.anchors, told) if "PRIVATE KEY" in text]
            KeySigner(chain, key)
    assert Chain.read(certificates).pem == certificates, "what manifests know a signer by"
    with pytest.raises(BadKey, match="trust anchors"):
        Chain.read(certificates, anchors="none")


def test_what_cannot_sign_together_is_named_and_not_shown() -> None:
    with pytest.raises(BadKey, match="not the first certificate's") as wrong:
        KeySigner(OURS().chain, keys().key)
    assert "PRIVATE" not in str(wrong.value)
    with pytest.raises(BadKey, match="no PEM"):
        KeySigner(OURS().chain, "not a key")
    with pytest.raises(BadKey, match="not PEM"):
        Chain.read("not a certificate")
    with pytest.raises(BadKey, match="no kind of key"):
        Chain.read(certificate(ec.generate_private_key(ec.SECP256K1())))


class Service:
    """A key service of the kind the guide describes; answers what it was told to, else a signature."""

    def __init__(self, key: str, answer: httpx.Response | Exception | None = None, *, raw: bool = False) -> None:
        self.key: Any = load_pem_private_key(key.encode(), None)
        self.answer = answer
        self.raw = raw
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content))
        self.tokens.append(request.headers.get("authorization"))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        message = base64.b64decode(self.asked[-1]["message"])
        return httpx.Response(200, json={"signature": base64.b64encode(self.signed(message)).decode()})

    def signed(self, message: bytes) -> bytes:
        signature: bytes = self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        return signature


def remote(service: Service, *, seconds: float = 5) -> RemoteSigner:
    signer = RemoteSigner(OURS().chain, url="https://keys.example/sign", token="secret", seconds=seconds)
    signer._client = httpx.AsyncClient(transport=httpx.MockTransport(service), headers=signer._client.headers)
    return signer


async def test_a_key_service_is_asked_with_digest_and_bytes_and_its_answer_checked() -> None:
    service = Service(OURS().key)
    signature = await remote(service).sign(b"a claim")
    OURS().chain.check(b"a claim", signature)
    assert service.tokens == ["Bearer secret"]
    (asked,) = service.asked
    assert asked["algorithm"] == "es256"
    assert base64.b64decode(asked["digest"]) == hashlib.sha256(b"a claim").digest()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(403, json={"error": "no"}),
        httpx.Response(200, json={"other": "answer"}),
        httpx.Response(200, text="no JSON"),
        httpx.Response(200, json={"signature": "!"}),
        httpx.Response(200, json={"signature": base64.b64encode(bytes(64)).decode()}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("silent"),
    ],
)
async def test_whatever_is_wrong_with_a_key_service_the_work_waits(answer: httpx.Response | Exception) -> None:
    with pytest.raises(Unavailable):
        await remote(Service(OURS().key, answer)).sign(b"a claim")


async def test_a_service_that_signs_with_another_key_makes_no_file() -> None:
    with pytest.raises(Unavailable, match="not by its certificate"):
        await remote(Service(keys().key)).sign(b"a claim")
    with pytest.raises(Unavailable, match="not by its certificate"):  # its numbers do not even fit
        await remote(Service(pem(KEYS["es384"]))).sign(b"a claim")


def test_rsa_signs_with_pss_as_every_validator_reads_it() -> None:
    key = KEYS["ps256"]
    signature = key.sign(b"x", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    Chain.read(certificate(key)).check(b"x", signature)


def test_a_service_signs_as_its_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert signer_of(PostprocessSettings()) is None
    (tmp_path / "c.pem").write_text(OURS().certificates)
    (tmp_path / "k.pem").write_text(OURS().key)
    monkeypatch.setenv("CALOTYPE_SIGNING_CERTIFICATES_FILE", str(tmp_path / "c.pem"))
    with pytest.raises(ValidationError, match="with it one of"):
        PostprocessSettings()
    monkeypatch.setenv("CALOTYPE_SIGNING_KEY_FILE", str(tmp_path / "k.pem"))
    assert isinstance(signer_of(PostprocessSettings()), KeySigner)
    monkeypatch.setenv("CALOTYPE_SIGNING_KEY", OURS().key)
    with pytest.raises(ValidationError) as both:
        PostprocessSettings()
    assert "PRIVATE" not in str(both.value)
    monkeypatch.delenv("CALOTYPE_SIGNING_KEY_FILE")
    assert isinstance(signer_of(PostprocessSettings()), KeySigner)
    monkeypatch.delenv("CALOTYPE_SIGNING_KEY")
    monkeypatch.setenv("CALOTYPE_SIGNING_URL", "https://keys.example/sign")
    assert isinstance(signer_of(PostprocessSettings()), RemoteSigner)
