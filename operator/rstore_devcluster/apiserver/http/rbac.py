"""Role-based access control, evaluated from the stored Roles and bindings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rstore_devcluster.apiserver.http.authn import AUTHENTICATED, User
from rstore_devcluster.apiserver.http.errors import ApiError, forbidden
from rstore_devcluster.apiserver.http.request_info import RequestInfo
from rstore_devcluster.apiserver.jsonobj import JsonObject, lookup
from rstore_devcluster.apiserver.storage.store import Store

_GROUP = "rbac.authorization.k8s.io"
_GRANTING = frozenset({"roles", "clusterroles", "rolebindings", "clusterrolebindings"})
_REVIEWS = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"})
_DISCOVERY = ("/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz")
_PUBLIC = ("/version", "/healthz", "/livez", "/readyz")


class Authorizer:
    """Answers whether a user may do what a request asks for."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, user: User, info: RequestInfo) -> None:
        """Raise the 403 Kubernetes would."""
        if self.allowed(user, info):
            return
        group = f'API group "{info.group}"'
        where = f' in the namespace "{info.namespace}"' if info.namespace else " at the cluster scope"
        why = f'User "{user.name}" cannot {info.verb} resource "{info.resource_and_sub}" in {group}{where}'
        raise forbidden(info.group, info.plural, info.name, why)

    def check_path(self, user: User, verb: str, path: str) -> None:
        """Raise a 403 for a path that is no resource."""
        if not self.path_allowed(user, verb, path):
            raise ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {verb} path "{path}"', details={})

    def path_allowed(self, user: User, verb: str, path: str) -> bool:
        """Whether a user may use a path that is no resource; discovery is open to all authenticated users."""
        if user.is_admin or path.startswith(_PUBLIC):
            return True
        if AUTHENTICATED in user.groups and verb == "get" and path.startswith(_DISCOVERY):
            return True
        return any(_path_rule_allows(rule, verb, path) for rule, namespace in self.rules(user) if not namespace)

    def allowed(self, user: User, info: RequestInfo) -> bool:
        """Whether some rule that applies to the user allows the request."""
        if user.is_admin:
            return True
        if AUTHENTICATED in user.groups and info.verb == "create" and info.plural in _REVIEWS:
            return True
        return any(
            _rule_allows(rule, info)
            for rule, namespace in self.rules(user)
            if not namespace or namespace == info.namespace
        )

    def check_escalation(self, user: User, resource: str, obj: JsonObject, namespace: str) -> None:
        """Raise a 403 when a user would grant, by a role or a binding, what it does not hold itself."""
        if user.is_admin or resource not in _GRANTING:
            return
        binding = resource.endswith("bindings")
        exempt = RequestInfo("bind" if binding else "escalate", _GROUP, "v1", namespace, resource, _granted_name(obj))
        if binding:
            exempt = replace(exempt, plural=str((obj.get("roleRef") or {}).get("kind", "")).lower() + "s")
        if self.allowed(user, exempt):
            return
        wanted = self._role_rules(obj, namespace) if binding else obj.get("rules") or []
        missing = [rule for rule in wanted if not self._covers(user, rule, namespace)]
        if missing:
            name = str((obj.get("metadata") or {}).get("name", ""))
            why = (
                f'user "{user.name}" (groups={sorted(user.groups)}) is attempting to grant RBAC permissions not '
                f"currently held:\n" + "\n".join(str(rule) for rule in missing)
            )
            raise forbidden(_GROUP, resource, name, why)

    def _covers(self, user: User, rule: JsonObject, namespace: str) -> bool:
        if rule.get("nonResourceURLs"):
            held = [own for own, space in self.rules(user) if not space]
            return all(
                any(_path_rule_allows(own, verb, path) for own in held)
                for verb in rule.get("verbs") or []
                for path in rule["nonResourceURLs"]
            )
        asked = [
            RequestInfo(verb, group, "", namespace, plural, name, subresource)
            for verb in rule.get("verbs") or []
            for group in rule.get("apiGroups") or []
            for plural, _, subresource in (item.partition("/") for item in rule.get("resources") or [])
            for name in rule.get("resourceNames") or [""]
        ]
        return all(self.allowed(user, info) for info in asked)

    def rules(self, user: User) -> Iterator[tuple[JsonObject, str]]:
        """Every (rule, namespace it holds in, "" for all) that applies to a user."""
        for stored in self._store.peek_all("clusterrolebindings.rbac.authorization.k8s.io"):
            if _binds(stored.obj, user, ""):
                yield from ((rule, "") for rule in self._role_rules(stored.obj, ""))
        for stored in self._store.peek_all("rolebindings.rbac.authorization.k8s.io"):
            if _binds(stored.obj, user, stored.namespace):
                yield from ((rule, stored.namespace) for rule in self._role_rules(stored.obj, stored.namespace))

    def _role_rules(self, binding: JsonObject, namespace: str) -> list[JsonObject]:
        reference = binding.get("roleRef") or {}
        name = reference.get("name", "")
        if reference.get("kind") == "ClusterRole":
            role = self._store.peek("clusterroles.rbac.authorization.k8s.io", "", name)
        else:
            role = self._store.peek("roles.rbac.authorization.k8s.io", namespace, name)
        return [] if role is None else role.obj.get("rules") or []


def _granted_name(obj: JsonObject) -> str:
    role = obj.get("roleRef")
    return str(role.get("name", "")) if role else str((obj.get("metadata") or {}).get("name", ""))


def _binds(binding: JsonObject, user: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or []:
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User" and name == user.name:
            return True
        if kind == "Group" and name in user.groups:
            return True
        if kind == "ServiceAccount":
            space = subject.get("namespace") or namespace
            if user.name == f"system:serviceaccount:{space}:{name}":
                return True
    return False


def _rule_allows(rule: JsonObject, info: RequestInfo) -> bool:
    def has(field: str, *accepted: str) -> bool:
        listed = lookup(rule, field) or []
        return any(item in listed for item in accepted)

    resources = ["*", info.resource_and_sub]
    if info.subresource:
        resources.append(f"*/{info.subresource}")
    names = rule.get("resourceNames") or []
    name = info.name or info.selected_name
    return (
        has("verbs", "*", info.verb)
        and has("apiGroups", "*", info.group)
        and has("resources", *resources)
        and (not names or (bool(name) and name in names))
    )


def _path_rule_allows(rule: JsonObject, verb: str, path: str) -> bool:
    verbs = rule.get("verbs") or []
    if verb not in verbs and "*" not in verbs:
        return False
    return any(
        url == path or (url.endswith("*") and path.startswith(url[:-1])) for url in rule.get("nonResourceURLs") or []
    )
