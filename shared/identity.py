"""Who calls, and what they may do: API keys, browser sessions, and the one table of roles. Default is deny.

A key is `ck_<id>_<secret>`; services know only the SHA-256 of the secret (32 random bytes, so a plain hash is enough).
A browser's session names a key and is signed; the key is looked up on every request, so revoking it ends its sessions.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

SESSION_SECONDS = 12 * 3600
LINK_SECONDS = 15 * 60
GRANT_SECONDS = 60
CHECK = "check:"
"""How the principal of a check's decision begins, and nobody else's."""


class May(StrEnum):
    """One permission each; every route names the one it needs."""

    SUBMIT = "submit requests"
    CANCEL = "cancel requests"
    READ = "read jobs and assets"
    DECIDE = "decide on assets"
    READ_LIBRARY = "read the library"
    PUBLISH_LIBRARY = "publish library documents"
    MANAGE_KEYS = "manage keys"
    OPERATE = "operate the pipeline"
    RUN = "act on every workspace"


ROLES: dict[str, frozenset[May]] = {
    "reader": frozenset({May.READ, May.READ_LIBRARY}),
    "requester": frozenset({May.SUBMIT, May.CANCEL, May.READ, May.READ_LIBRARY}),
    "reviewer": frozenset({May.READ, May.READ_LIBRARY, May.DECIDE}),
    "librarian": frozenset({May.READ, May.READ_LIBRARY, May.PUBLISH_LIBRARY}),
    "operator": frozenset({May.READ, May.READ_LIBRARY, May.CANCEL, May.OPERATE}),
    "admin": frozenset(May) - {May.RUN},
    # Of the installation, not of a workspace: only who holds the bootstrap token makes such a key.
    "owner": frozenset({May.READ, May.READ_LIBRARY, May.CANCEL, May.OPERATE, May.RUN}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a request comes from."""

    principal: str
    workspace: UUID
    roles: tuple[str, ...]
    key_id: str
    workspace_name: str = ""
    session: str | None = None

    def may(self, permission: May) -> bool:
        return any(permission in ROLES.get(role, frozenset()) for role in self.roles)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key when it is made: the only moment its secret is known."""

    key_id: str
    token: str
    sha256: str


def new_key() -> NewKey:
    key_id = secrets.token_hex(6)
    secret = secrets.token_urlsafe(32)
    return NewKey(key_id, f"ck_{key_id}_{secret}", hash_secret(secret))


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def split_key(token: str) -> tuple[str, str] | None:
    """(id, secret) of `ck_<id>_<secret>`, or None."""
    parts = token.split("_", 2)
    if len(parts) != 3 or parts[0] != "ck" or not parts[1] or not parts[2]:
        return None
    return parts[1], parts[2]


def sign(payload: dict[str, Any], *, secret: str, purpose: str, seconds: float) -> str:
    """A token that says `payload` until it expires, good for one purpose only."""
    body = base64.urlsafe_b64encode(orjson.dumps(payload | {"exp": int(time.time() + seconds)})).rstrip(b"=")
    return f"{body.decode()}.{_mac(body, secret=secret, purpose=purpose)}"


def verify(token: str, *, secret: str, purpose: str) -> dict[str, Any] | None:
    """The payload, or None for a token that is altered, expired, or made for something else."""
    body, _, mac = token.partition(".")
    if not secret or not hmac.compare_digest(
        mac.encode(), _mac(body.encode(), secret=secret, purpose=purpose).encode()
    ):
        return None
    try:
        payload = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, orjson.JSONDecodeError):
        return None
    return payload if isinstance(payload, dict) and payload.get("exp", 0) > time.time() else None


def _mac(body: bytes, *, secret: str, purpose: str) -> str:
    digest = hmac.new(secret.encode(), purpose.encode() + b"\x1f" + body, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def csrf_token(session: str, *, secret: str) -> str:
    """Bound to the session: another site can send the cookie along but cannot know this."""
    return _mac(session.encode(), secret=secret, purpose="csrf")
