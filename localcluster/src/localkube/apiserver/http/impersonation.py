"""Acting as somebody else: the headers ``Impersonate-User``, ``-Group``, ``-Uid`` and ``-Extra-…``."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from localkube.apiserver.errors import bad_request
from localkube.apiserver.http.authn import ANONYMOUS, AUTHENTICATED, User
from localkube.apiserver.http.rbac import Authorizer
from localkube.apiserver.http.request_info import RequestInfo

_EXTRA = "impersonate-extra-"
_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class _Wanted:
    user: str
    groups: tuple[str, ...]
    uid: str
    extra: dict[str, list[str]] = field(default_factory=dict)


def _read(headers: CIMultiDictProxy[str]) -> _Wanted:
    extra: dict[str, list[str]] = {}
    for name, value in headers.items():
        if name.lower().startswith(_EXTRA):
            extra.setdefault(unquote(name.lower().removeprefix(_EXTRA)), []).append(value)
    groups = tuple(headers.getall("Impersonate-Group", []))
    return _Wanted(headers.get("Impersonate-User", ""), groups, headers.get("Impersonate-Uid", ""), extra)


def impersonated(user: User, headers: CIMultiDictProxy[str], authorizer: Authorizer) -> User:
    """Whom a request is made as, the user itself without such headers; raises 400 or 403."""
    wanted = _read(headers)
    if not wanted.user:
        if wanted.groups or wanted.uid or wanted.extra:
            shown = ", ".join(f'"{group}"' for group in wanted.groups)
            who = f'&user.DefaultInfo{{Name:"", UID:"{wanted.uid}", Groups:[]string{{{shown}}}}}'
            raise bad_request(f"requested {who} without impersonating a user name")
        return user
    for info in _permissions(wanted):
        authorizer.check(user, info)
    groups = wanted.groups
    if wanted.user.startswith(_ACCOUNT) and not groups:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{wanted.user.split(':')[2]}")
    if AUTHENTICATED not in groups and wanted.user != ANONYMOUS.name:
        groups = (*groups, AUTHENTICATED)
    return User(wanted.user, groups, wanted.uid, wanted.extra)


def _permissions(wanted: _Wanted) -> list[RequestInfo]:
    """Returns what whoever asks must be allowed to impersonate."""
    if wanted.user.startswith(_ACCOUNT) and wanted.user.count(":") == 3:
        _, _, namespace, name = wanted.user.split(":")
        asked = [RequestInfo("impersonate", "", "v1", namespace, "serviceaccounts", name)]
    else:
        asked = [RequestInfo("impersonate", "", "v1", "", "users", wanted.user)]
    asked += [RequestInfo("impersonate", "", "v1", "", "groups", group) for group in wanted.groups]
    group = "authentication.k8s.io"
    if wanted.uid:
        asked.append(RequestInfo("impersonate", group, "v1", "", "uids", wanted.uid))
    for key, values in wanted.extra.items():
        asked += [RequestInfo("impersonate", group, "v1", "", "userextras", value, key) for value in values]
    return asked
