"""Roles, bindings and service accounts: their defaults, what is wrong with them, what of them may change."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.rules import GoStruct, invalid, named, required, unsupported
from localkube.apiserver.schema import formats

GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")


def default_binding(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of RoleBindings and ClusterRoleBindings."""
    role = child(obj, "roleRef")
    role["apiGroup"] = role.get("apiGroup") or GROUP
    for subject in obj.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = subject.get("apiGroup") or GROUP


def default_role(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """A role without rules is shown with none."""
    set_defaults(obj, rules=None)
    obj.setdefault("rules", None)


def _subjects(value: Json, path: str, *, namespaced: bool) -> Iterator[Cause]:
    for index, subject in enumerate(value or []):
        at = f"{path}[{index}]"
        kind, name, group = subject.get("kind") or "", subject.get("name") or "", subject.get("apiGroup") or ""
        if not name:
            yield required(f"{at}.name")
        if kind == "ServiceAccount":
            yield from named(formats.dns_subdomain)(name, f"{at}.name")
            if group:
                yield unsupported(f"{at}.apiGroup", group, ("",))
            if not namespaced and not subject.get("namespace"):
                yield required(f"{at}.namespace")
        elif kind in _SUBJECTS:
            if group != GROUP:
                yield unsupported(f"{at}.apiGroup", group, (GROUP,))
        else:
            yield unsupported(f"{at}.kind", kind, _SUBJECTS)


def validate_binding(obj: JsonObject, old: JsonObject | None, *, namespaced: bool) -> list[Cause]:
    """Returns what is wrong with a binding, or with how it changed: its role is fixed."""
    role = obj["roleRef"]
    causes = []
    if role["apiGroup"] != GROUP:
        causes.append(unsupported("roleRef.apiGroup", role["apiGroup"], (GROUP,)))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if role.get("kind") not in kinds:
        causes.append(unsupported("roleRef.kind", role.get("kind") or "", kinds))
    name = role.get("name") or ""
    if not name:
        causes.append(required("roleRef.name"))
    else:
        causes += [invalid("roleRef.name", name, why) for why in formats.path_segment(name)]
    causes += _subjects(obj.get("subjects"), "subjects", namespaced=namespaced)
    if old is not None and old["roleRef"] != role:
        shown = GoStruct.of(role, ("APIGroup", "apiGroup", ""), ("Kind", "kind", ""), ("Name", "name", ""))
        causes.append(invalid("roleRef", shown, "cannot change roleRef"))
    return causes


def validate_rolebinding(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a RoleBinding."""
    return validate_binding(obj, old, namespaced=True)


def validate_clusterrolebinding(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a ClusterRoleBinding."""
    return validate_binding(obj, old, namespaced=False)


def _rules(obj: JsonObject, *, namespaced: bool) -> Iterator[Cause]:
    for index, rule in enumerate(obj.get("rules") or []):
        at = f"rules[{index}]"
        if not rule.get("verbs"):
            yield required(f"{at}.verbs", "verbs must contain at least one value")
        urls = rule.get("nonResourceURLs")
        if urls:
            if namespaced:
                why = "namespaced rules cannot apply to non-resource URLs"
                yield invalid(f"{at}.nonResourceURLs", urls, why)
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                why = "rules cannot apply to both regular resources and non-resource URLs"
                yield invalid(f"{at}.nonResourceURLs", urls, why)
            continue
        if not rule.get("apiGroups"):
            yield required(f"{at}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required(f"{at}.resources", "resource rules must supply at least one resource")


def validate_role(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with the rules of a Role."""
    return list(_rules(obj, namespaced=True))


def validate_clusterrole(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with the rules of a ClusterRole."""
    return list(_rules(obj, namespaced=False))
