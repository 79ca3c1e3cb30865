"""Role-based access control, evaluated from the stored Roles and bindings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from localkube.apiserver.errors import ApiError, forbidden, not_found
from localkube.apiserver.http.authn import User
from localkube.apiserver.http.request_info import RequestInfo
from localkube.apiserver.jsonobj import JsonObject, lookup
from localkube.apiserver.kinds import grants
from localkube.apiserver.objects.store import Store

_GROUP = "rbac.authorization.k8s.io"
_ROLES = {"Role": "roles", "ClusterRole": "clusterroles"}
_GRANTING = frozenset({"roles", "clusterroles", "rolebindings", "clusterrolebindings"})


@dataclass(frozen=True)
class Granted:
    """A rule that applies to a user, where it holds, and the binding that gives it."""

    rule: JsonObject
    namespace: str
    """The namespace it holds in, "" for all and for the cluster."""
    source: str


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
        if not user.is_admin and self.path_reason(user, verb, path) is None:
            raise ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {verb} path "{path}"', details={})

    def allowed(self, user: User, info: RequestInfo) -> bool:
        """Returns whether some rule that applies to the user allows the request."""
        return user.is_admin or self.reason(user, info) is not None

    def reason(self, user: User, info: RequestInfo) -> str | None:
        """Returns what allows a request, None when nothing does."""
        return next(
            (
                granted.source
                for granted in self.rules(user)
                if granted.namespace in ("", info.namespace) and _rule_allows(granted.rule, info)
            ),
            None,
        )

    def path_reason(self, user: User, verb: str, path: str) -> str | None:
        """Returns what allows a user to use a path that is no resource, None when nothing does."""
        return next(
            (
                granted.source
                for granted in self.rules(user)
                if not granted.namespace and _path_rule_allows(granted.rule, verb, path)
            ),
            None,
        )

    def check_escalation(
        self, user: User, resource: str, obj: JsonObject, namespace: str, old: JsonObject | None = None
    ) -> None:
        """Raise a 403 when a user would grant, by a role or a binding, what it does not hold itself.

        An update that leaves the rules of a role as they were grants nothing. Raises a 404 for a binding to a role
        that does not exist.
        """
        if user.is_admin or resource not in _GRANTING:
            return
        if resource.endswith("bindings"):
            wanted = self._bound_rules(user, resource, obj, namespace)
        elif old is not None and (old.get("rules") or []) == (obj.get("rules") or []):
            return
        else:
            name = str(lookup(obj, "metadata", "name") or "")
            exempt = RequestInfo("escalate", _GROUP, "v1", namespace, resource, name)
            wanted = [] if self.allowed(user, exempt) else obj.get("rules") or []
        own = [granted.rule for granted in self.rules(user) if granted.namespace in ("", namespace)]
        missing = grants.uncovered(own, wanted)
        if missing:
            groups = " ".join(f'"{group}"' for group in user.groups)
            why = (
                f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not '
                f"currently held:\n" + "\n".join(missing)
            )
            raise forbidden(_GROUP, resource, str(lookup(obj, "metadata", "name") or ""), why)

    def _bound_rules(self, user: User, resource: str, binding: JsonObject, namespace: str) -> Sequence[JsonObject]:
        """Returns the rules that a binding gives, none when the user may bind the role whatever it holds."""
        reference = binding.get("roleRef") or {}
        plural = _ROLES.get(str(reference.get("kind", "")), "")
        exempt = RequestInfo("bind", _GROUP, "v1", namespace, plural, str(reference.get("name", "")))
        if self.allowed(user, exempt):
            return []
        role = self._role(binding, namespace)
        if role is None:
            raise not_found(_GROUP, resource, str(lookup(binding, "metadata", "name") or ""))
        return role.get("rules") or []

    def rules(self, user: User) -> Iterator[Granted]:
        """Yields every rule that applies to a user."""
        for stored in self._store.peek_all(f"clusterrolebindings.{_GROUP}"):
            yield from self._granted(stored.obj, user, "")
        for stored in self._store.peek_all(f"rolebindings.{_GROUP}"):
            yield from self._granted(stored.obj, user, stored.namespace)

    def _granted(self, binding: JsonObject, user: User, namespace: str) -> Iterator[Granted]:
        subject = _bound_subject(binding, user, namespace)
        if not subject:
            return
        role, reference = self._role(binding, namespace), binding.get("roleRef") or {}
        name = binding["metadata"]["name"]
        given_by = f'RoleBinding "{name}/{namespace}"' if namespace else f'ClusterRoleBinding "{name}"'
        source = f'RBAC: allowed by {given_by} of {reference.get("kind")} "{reference.get("name")}" to {subject}'
        for rule in (role or {}).get("rules") or []:
            yield Granted(rule, namespace, source)

    def _role(self, binding: JsonObject, namespace: str) -> JsonObject | None:
        reference = binding.get("roleRef") or {}
        cluster = reference.get("kind") == "ClusterRole"
        key = f"{'clusterroles' if cluster else 'roles'}.{_GROUP}"
        role = self._store.peek(key, "" if cluster else namespace, str(reference.get("name", "")))
        return None if role is None else role.obj


def _bound_subject(binding: JsonObject, user: User, namespace: str) -> str:
    """Returns the first subject of a binding that is the user, as messages show it; "" when none is."""
    for subject in binding.get("subjects") or []:
        kind, name = subject.get("kind"), subject.get("name")
        if (kind == "User" and name == user.name) or (kind == "Group" and name in user.groups):
            return f'{kind} "{name}"'
        if kind == "ServiceAccount":
            space = subject.get("namespace") or namespace
            if user.name == f"system:serviceaccount:{space}:{name}":
                return f'ServiceAccount "{name}/{space}"'
    return ""


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
