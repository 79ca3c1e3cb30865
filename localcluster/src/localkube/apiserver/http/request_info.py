"""What a request asks for, read from its method and path alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from localkube.apiserver.errors import no_such_resource
from localkube.apiserver.http.list_options import flag
from localkube.apiserver.objects.field_selectors import selected_name

_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class RequestInfo:
    """A request on a resource."""

    verb: str
    group: str
    version: str
    namespace: str
    plural: str
    name: str = ""
    subresource: str = ""
    selected_name: str = ""
    """The one name a list or watch selects by ``fieldSelector=metadata.name=…``; RBAC treats it as the name."""

    @property
    def resource_and_sub(self) -> str:
        """``pods`` or ``pods/log``, as RBAC rules name it."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


def parse(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Parse a path under ``/api/`` or ``/apis/``; raises 404 for what is no resource request.

    The verb of a method that no resource has is empty.
    """
    parts = [part for part in path.split("/") if part]
    if parts[0] == "api":
        group, rest = "", parts[1:]
    else:
        group, rest = (parts[1] if len(parts) > 1 else ""), parts[2:]
    if len(rest) < 2:
        raise no_such_resource()
    version, rest = rest[0], rest[1:]
    watched = rest[0] == "watch" and method in ("GET", "HEAD")
    if watched:
        rest = rest[1:]
    if not rest:
        raise no_such_resource()
    namespace = name = subresource = ""
    if rest[0] == "namespaces":
        if len(rest) <= 2 or (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES):
            plural = "namespaces"
            name = rest[1] if len(rest) > 1 else ""
            subresource = rest[2] if len(rest) > 2 else ""
            namespace = name
            info = _info(method, query, group, version, namespace, plural, name, subresource)
            return replace(info, verb="watch") if watched else info
        namespace, rest = rest[1], rest[2:]
    plural = rest[0]
    if len(rest) > 1:
        name = rest[1]
    if len(rest) > 2:
        subresource = "/".join(rest[2:])
    info = _info(method, query, group, version, namespace, plural, name, subresource)
    return replace(info, verb="watch") if watched else info


def _info(
    method: str,
    query: Mapping[str, str],
    group: str,
    version: str,
    namespace: str,
    plural: str,
    name: str,
    subresource: str,
) -> RequestInfo:
    verb = _verb(method, name, query)
    selected = "" if name else selected_name(query.get("fieldSelector", ""))
    return RequestInfo(verb, group, version, namespace, plural, name, subresource, selected)


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method in ("GET", "HEAD"):
        if name:
            return "get"
        return "watch" if flag(query, "watch") else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    return _VERBS.get(method, "")
