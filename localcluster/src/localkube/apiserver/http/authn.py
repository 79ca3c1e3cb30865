"""Who is asking: bearer tokens of the administrator and of service accounts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localkube.apiserver.jsonobj import Json

ISSUER = "https://kubernetes.default.svc"
MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True)
class User:
    """An authenticated (or anonymous) user."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        """Returns whether every request is allowed."""
        return MASTERS in self.groups


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def service_account_user(namespace: str, name: str, uid: str = "") -> User:
    """Returns the user a service account's token stands for."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Mints and checks tokens. Service-account tokens are HS256 JWTs signed with a key kept beside the data."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._key = _secret_file(directory / "token.key").encode()
        self.admin_token = _secret_file(directory / "admin.token")
        self._clock = clock

    def mint(
        self,
        namespace: str,
        service_account: str,
        *,
        uid: str = "",
        lifetime_seconds: int = 365 * 86400,
        audiences: Sequence[str] = (ISSUER,),
    ) -> str:
        """Returns a token for a service account, valid for ``lifetime_seconds``."""
        now = int(self._clock())
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            "aud": list(audiences),
            "iat": now,
            "nbf": now,
            "exp": now + lifetime_seconds,
            "jti": secrets.token_hex(8),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": service_account, "uid": uid}},
        }
        header = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        signed = f"{header}.{_encode(json.dumps(claims).encode())}"
        return f"{signed}.{self._signature(signed)}"

    def authenticate(self, token: str) -> User | None:
        """Returns the user of a token, None when it is unknown, forged, expired or for other audiences."""
        if hmac.compare_digest(token.encode(), self.admin_token.encode()):
            return User("kubernetes-admin", (MASTERS, AUTHENTICATED))
        signed, dot, signature = token.rpartition(".")
        if not dot or not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return None
        claims: Json = json.loads(_decode(signed.split(".")[1]))
        if claims["exp"] < self._clock() or ISSUER not in claims["aud"]:
            return None
        bound = claims["kubernetes.io"]
        account = bound["serviceaccount"]
        return service_account_user(bound["namespace"], account["name"], account["uid"])

    def _signature(self, signed: str) -> str:
        return _encode(hmac.new(self._key, signed.encode(), hashlib.sha256).digest())


def _secret_file(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text().strip()
