"""Content Credentials: what is claimed of each file (C2PA 2.2), written into it. Imported by the child process only.

The original was created, and by what; every derivative opens it and names what its recipe did. Nobody here can sign:
what has to be signed is handed out, and the signature put in its place (`cose.py`).
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from c2pa import Builder, C2paError, C2paSignerInfo, Context, Reader, Settings, Signer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_pem_x509_certificate

from services.postprocess.cose import Claim, Unsignable, claim_of, with_signature
from services.postprocess.originals import names_credentials
from services.postprocess.xmp import source_uri
from shared.events import SourceType

# C2PA 2.2, section 18.15.2. What has no word there is an edit, described by the operation's name.
ACTIONS = {
    "crop": "c2pa.cropped",
    "resize": "c2pa.resized",
    "upscale": "c2pa.resized",
    "colour": "c2pa.color_adjustments",
    "sharpen": "c2pa.filtered",
    "mark": "c2pa.watermarked",
}
EDITED = "c2pa.edited"
PARENT = "parent"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file whose credentials want only the right signature."""

    data: bytes
    claim: Claim

    def signed(self, signature: bytes) -> bytes:
        return with_signature(self.data, self.claim, signature)


class Notary:
    """Writes claims in the name of one certificate."""

    def __init__(self, certificates: str, algorithm: str, anchors: str) -> None:
        """`anchors`: by whom the original is checked when its derivatives name it; PEM, as the certificates."""
        # A thumbnail costs 100 ms and up to 750 kB; whether it verifies the publisher's own child looks.
        self._context = Context(
            Settings.from_dict(
                {
                    "builder": {"thumbnail": {"enabled": False}},
                    "trust": {"trust_anchors": anchors},
                    "verify": {"verify_after_sign": False, "verify_trust": True, "remote_manifest_fetch": False},
                }
            )
        )
        self._stand_in = Signer.from_info(
            C2paSignerInfo(algorithm.encode(), certificates.encode(), _worthless_key(certificates), None)
        )

    def original(self, data: bytes, media_type: str, *, came: bytes, source_type: SourceType) -> Prepared:
        """`came`: the bytes as they were handed over, whose own credentials, if they have any, are the parent's."""
        if self._has_credentials(came, media_type):
            actions: list[dict[str, Any]] = [_opened(), {"action": "c2pa.edited.metadata"}]
            parent = self.parent(came, media_type, title="as generated")
        elif source_uri(source_type) is None:
            raise Unsignable("what made it is not known to this release")
        else:
            actions, parent = [{"action": "c2pa.created", "digitalSourceType": source_uri(source_type)}], None
        return self._prepared(data, media_type, actions=actions, parent=parent, title="original")

    def _has_credentials(self, data: bytes, media_type: str) -> bool:
        """Raises Unsignable: what began with a claim that nobody can read was not created here."""
        if not names_credentials(data):
            return False
        try:  # without this context the library would fetch what an address in a stranger's XMP names
            return Reader.try_create(media_type, io.BytesIO(data), context=self._context) is not None
        except C2paError as error:
            raise Unsignable(f"it came with credentials that cannot be read: {error}") from error

    def parent(self, signed: bytes, media_type: str, *, title: str) -> bytes:
        """The file as an ingredient that others begin with: read and checked once for all of them."""
        told = {"title": title, "relationship": "parentOf", "label": PARENT}
        kept = io.BytesIO()
        try:
            with Builder({}, context=self._context) as builder:
                builder.add_ingredient_from_stream(json.dumps(told), media_type, io.BytesIO(signed))
                builder.write_ingredient_archive(PARENT, kept)
        except C2paError as error:
            raise Unsignable(f"it cannot be named as a parent: {error}") from error
        return kept.getvalue()

    def edited(
        self,
        data: bytes,
        media_type: str,
        *,
        parent: bytes,
        operations: Sequence[str],
        converted: bool,
        title: str,
    ) -> Prepared:
        """`operations`: those that changed the picture, in order; `converted`: to another format than the parent's."""
        actions = [_opened(), *(_action(operation) for operation in operations)]
        if converted:
            actions.append({"action": "c2pa.converted"})
        return self._prepared(data, media_type, actions=actions, parent=parent, title=title)

    def _prepared(
        self, data: bytes, media_type: str, *, actions: list[dict[str, Any]], parent: bytes | None, title: str
    ) -> Prepared:
        manifest = {
            "claim_generator_info": [{"name": "Calotype", "version": version("calotype")}],
            "title": title,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions, "allActionsIncluded": True}}],
        }
        out = io.BytesIO()
        try:
            with Builder(manifest, context=self._context) as builder:
                if parent is not None:
                    builder.add_ingredient_from_archive(io.BytesIO(parent))
                store = builder.sign(self._stand_in, media_type, io.BytesIO(data), out)
        except C2paError as error:
            raise Unsignable(str(error)) from error
        return Prepared(out.getvalue(), claim_of(store))


@cache
def notary(certificates: str, algorithm: str, anchors: str) -> Notary:
    return Notary(certificates, algorithm, anchors)


def _opened() -> dict[str, Any]:
    return {"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT]}}


def _action(operation: str) -> dict[str, Any]:
    known = ACTIONS.get(operation)
    return {"action": known} if known else {"action": EDITED, "description": operation}


def _worthless_key(certificates: str) -> bytes:
    """A key like the certificate's, drawn here: what it signs is replaced before anybody sees it."""
    like = load_pem_x509_certificate(certificates.encode()).public_key()
    key: Any
    match like:
        case ec.EllipticCurvePublicKey():
            key = ec.generate_private_key(like.curve)
        case rsa.RSAPublicKey():
            key = rsa.generate_private_key(65537, like.key_size)
        case ed25519.Ed25519PublicKey():
            key = ed25519.Ed25519PrivateKey.generate()
        case _:
            raise Unsignable("a certificate for a kind of key that C2PA does not know")
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem
