"""Tokens of users: signed, so that every replica of every region checks them without asking another one.

A token is its claims (msgpack) and their HMAC-SHA256, each in URL-safe base64, joined by a dot. The key is replicated
with users and roles, and another one each time that auth is enabled.
"""

from __future__ import annotations

import base64
import binascii
import hmac

import msgspec

LIFETIME_SECONDS = 300
"""As that of etcd's tokens. Its clients authenticate again when one is refused."""
MAX_TOKEN_BYTES = 1024


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says."""

    user: str
    password_revision: int
    """Of the user, see ``AuthUser``: with a new password the tokens from before are refused."""
    expires_at: int
    """In seconds since 1970."""


def make_token(claims: Claims, key: bytes) -> str:
    """Returns the token."""
    body = msgspec.msgpack.encode(claims)
    return f"{_encode(body)}.{_encode(_signature(body, key))}"


def read_token(token: str, key: bytes) -> Claims | None:
    """Returns what a token says, whether or not it has expired; None when it was not made with this key."""
    if not key or len(token) > MAX_TOKEN_BYTES:
        return None
    body, _, signature = token.partition(".")
    try:
        decoded = _decode(body)
        if not hmac.compare_digest(_decode(signature), _signature(decoded, key)):
            return None
        return msgspec.msgpack.decode(decoded, type=Claims)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
