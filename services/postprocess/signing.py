"""Who signs what is published: a key in a file, in the environment, or with a service that never gives it away.

Known to the worker's process only. Children build claims and hand up what has to be signed; they hold no key.
"""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import httpx
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

from shared.errors import Unavailable

log = structlog.get_logger()

Algorithm = Literal["es256", "es384", "es512", "ps256", "ed25519"]
Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
# C2PA 2.2, section 13.2.1. A curve goes with its hash, whatever COSE would allow.
CURVES: dict[str, Algorithm] = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
HASHES: dict[str, Hash] = {"es256": hashes.SHA256(), "es384": hashes.SHA384(), "es512": hashes.SHA512()}
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
NAME = "the signing key"


class BadKey(ValueError):
    """Certificate and key cannot sign together; the message says why, and shows neither."""


class Signer(Protocol):
    """`chain.pem` goes into every file; `sign` answers as COSE wants it (of ECDSA r and s side by side)."""

    @property
    def chain(self) -> "Chain": ...

    async def sign(self, data: bytes) -> bytes:
        """Raises Unavailable: the work waits, at no cost."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Chain:
    """The signing certificate, then its issuers; `anchors` are the authorities that this is trusted for."""

    pem: str
    signing: Certificate
    issuers: tuple[Certificate, ...]
    algorithm: Algorithm
    anchors: str

    @classmethod
    def read(cls, pem: str, *, anchors: str | None = None) -> "Chain":
        """Without anchors the last certificate is one. Raises BadKey.

        Children are told certificates and nothing else that stands in the same file: it may be their key.
        """
        certificates = _certificates(pem, "the signing certificates")
        signing, *issuers = certificates
        trusted = _certificates(anchors, "the trust anchors") if anchors else [certificates[-1]]
        return cls(_pem(certificates), signing, tuple(issuers), _algorithm(signing.public_key()), _pem(trusted))

    @property
    def name(self) -> str:
        """What the certificate calls its owner."""
        return self.signing.subject.rfc4514_string()

    @property
    def ends_at(self) -> datetime:
        """When the first of them is over, and files signed now are worth nothing any more."""
        return min(each.not_valid_after_utc for each in (self.signing, *self.issuers))

    def over(self) -> str | None:
        """Which of them is not valid now; files signed under it would hold for nobody."""
        for each in (self.signing, *self.issuers):
            since, until = each.not_valid_before_utc, each.not_valid_after_utc
            if not since <= datetime.now(UTC) <= until:
                whose = "certificate" if each is self.signing else "issuer's certificate"
                when = f"only from {since:%Y-%m-%d} until {until:%Y-%m-%d}"
                return f"its {whose} ({each.subject.rfc4514_string()}) is not valid now, {when}"
        return None

    def check_date(self) -> None:
        """Raises Unavailable: who starts with another certificate goes on."""
        if (why := self.over()) is not None:
            raise Unavailable(NAME, why)

    async def ready(self) -> str | None:
        """For /readyz."""
        return self.over()

    def announce(self) -> None:
        """Says at start who signs and until when, loudly where that is not now: the work waits then."""
        told = {"certificate": self.name, "until": f"{self.ends_at:%Y-%m-%d}"}
        if (why := self.over()) is not None:
            log.error("signing.not_valid", cause=why, **told)
        else:
            log.info("signing.ready", **told)

    def check(self, data: bytes, signature: bytes) -> None:
        """Raises Unavailable: a signature that is not this certificate's would make every file invalid."""
        self.check_date()
        try:
            _verify(self.signing.public_key(), self.algorithm, data, signature)
        except (InvalidSignature, ValueError) as error:
            raise self.foreign() from error

    def foreign(self) -> Unavailable:
        return Unavailable(NAME, f"what it signs is not by its certificate ({self.name})")


class KeySigner:
    """A private key in this process, from a file or the environment."""

    def __init__(self, chain: Chain, key: str) -> None:
        """Raises BadKey."""
        try:
            private: Any = load_pem_private_key(key.encode(), None)
        except (ValueError, TypeError) as error:
            raise BadKey("the signing key is no PEM without a password that can be read") from error
        if private.public_key() != chain.signing.public_key():
            raise BadKey("the signing key is not the first certificate's")
        self.chain = chain
        self._key = private

    async def sign(self, data: bytes) -> bytes:
        signature = _signed(self._key, self.chain.algorithm, data)
        self.chain.check(data, signature)
        return signature

    async def start(self) -> None:
        self.chain.announce()

    async def stop(self) -> None:
        """Nothing to close."""


class RemoteSigner:
    """A key that a service keeps. It is asked by POST, as docs/guides/provenance.md says, with a bearer token."""

    def __init__(self, chain: Chain, *, url: str, token: str, seconds: float) -> None:
        self.chain = chain
        self._url = url
        self._seconds = seconds
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=seconds, trust_env=False)

    async def sign(self, data: bytes) -> bytes:
        kind = HASHES.get(self.chain.algorithm, hashes.SHA256())
        body = {
            "algorithm": self.chain.algorithm,
            "message": base64.b64encode(data).decode(),
            "digest": base64.b64encode(hashlib.new(kind.name, data).digest()).decode(),
        }
        try:
            async with asyncio.timeout(self._seconds):  # the client's own is for each wait
                answer = await self._client.post(self._url, json=body)
            if not answer.is_success:
                raise Unavailable(NAME, f"its service answered {answer.status_code}")
            signature = _plain(base64.b64decode(answer.json()["signature"], validate=True), self.chain)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unavailable(NAME, f"its service gave no answer: {error!r}") from error
        except OverflowError as error:  # numbers of a longer curve
            raise self.chain.foreign() from error
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(NAME, "its service answered with no signature") from error
        self.chain.check(data, signature)
        return signature

    async def start(self) -> None:
        """Connects when first asked."""
        self.chain.announce()

    async def stop(self) -> None:
        await self._client.aclose()


def _certificates(pem: str, what: str) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise BadKey(f"{what} are not PEM that can be read") from error


def _pem(certificates: Sequence[Certificate]) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def _algorithm(key: object) -> Algorithm:
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in CURVES:
            return CURVES[key.curve.name]
        case rsa.RSAPublicKey() if key.key_size >= 2048:
            return "ps256"
        case ed25519.Ed25519PublicKey():
            return "ed25519"
    raise BadKey("the signing certificate is for no kind of key that C2PA knows: P-256, P-384, P-521, RSA, Ed25519")


def _signed(key: Any, algorithm: Algorithm, data: bytes) -> bytes:
    signature: bytes
    match algorithm:
        case "ed25519":
            signature = key.sign(data)
        case "ps256":
            signature = key.sign(data, PSS, hashes.SHA256())
        case _:
            signature = _side_by_side(key.sign(data, ec.ECDSA(HASHES[algorithm])), _width(key))
    return signature


def _verify(key: Any, algorithm: Algorithm, data: bytes, signature: bytes) -> None:
    match algorithm:
        case "ed25519":
            key.verify(signature, data)
        case "ps256":
            key.verify(signature, data, PSS, hashes.SHA256())
        case _:
            half = len(signature) // 2
            numbers = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
            key.verify(encode_dss_signature(*numbers), data, ec.ECDSA(HASHES[algorithm]))


def _plain(signature: bytes, chain: Chain) -> bytes:
    """Most services answer ECDSA in ASN.1, some as COSE wants it."""
    width = _width(chain.signing.public_key()) if chain.algorithm in HASHES else 0
    return _side_by_side(signature, width) if width and len(signature) != 2 * width else signature


def _side_by_side(signature: bytes, width: int) -> bytes:
    r, s = decode_dss_signature(signature)
    return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def _width(key: Any) -> int:
    return int((key.curve.key_size + 7) // 8)
