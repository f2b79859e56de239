"""The key of invisible marks: who has it can read them, and forge or remove them. No imaging library is needed here."""

import hashlib

KEY_BYTES = 32


def mark_key(text: str) -> bytes:
    """A key as configured, in hexadecimal digits. Raises ValueError, which does not repeat it."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a mark key is {2 * KEY_BYTES} hexadecimal digits")
    return key


def fingerprint(key: bytes) -> str:
    """Names a key in manifests and says nothing of it."""
    return hashlib.sha256(b"calotype mark key" + key).hexdigest()[:16]
