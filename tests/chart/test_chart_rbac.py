"""The operator may do what its code does, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Rendered

WATCHED = {"get", "list", "watch"}
OWNED = WATCHED | {"create", "patch", "delete"}

# Every permission, and who needs it. A line that is added here needs a caller in rstore_operator.
USED: dict[tuple[str, str], set[str]] = {
    ("replicatedstore.io", "replicatedstores"): WATCHED | {"patch"},  # kopf's watch; annotations and the finalizer
    ("replicatedstore.io", "replicatedstores/status"): {"patch"},
    ("replicatedstore.io", "replicatedstores/finalizers"): {"update"},  # blockOwnerDeletion in owner references
    ("", "configmaps"): OWNED,
    ("", "secrets"): OWNED,
    ("", "serviceaccounts"): OWNED,
    ("", "services"): OWNED,
    ("apps", "statefulsets"): OWNED,
    ("policy", "poddisruptionbudgets"): OWNED,
    ("", "pods"): {"list", "watch"},
    ("", "events"): {"create"},
}


def permissions(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        assert "resourceNames" not in rule
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def test_the_cluster_role_is_exactly_what_is_used(default: Rendered) -> None:
    assert permissions(default.one("ClusterRole")) == USED


def test_no_rule_has_a_wildcard_or_touches_rbac_or_exec(default: Rendered) -> None:
    for rule in default.one("ClusterRole")["rules"]:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"]
        assert not {"pods/exec", "pods/portforward", "nodes"} & set(rule["resources"])


def test_the_binding_binds_the_operators_service_account(default: Rendered) -> None:
    binding = default.one("ClusterRoleBinding")
    assert binding["roleRef"]["name"] == default.one("ClusterRole")["metadata"]["name"]
    account = default.one("ServiceAccount")["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    assert default.pod["serviceAccountName"] == account["name"]


def test_an_operator_of_some_namespaces_gets_nothing_cluster_wide(namespaced: Rendered) -> None:
    assert namespaced.all("ClusterRole") == namespaced.all("ClusterRoleBinding") == []
    roles = namespaced.all("Role")
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]
    for role in roles:
        assert permissions(role) == USED
    for binding in namespaced.all("RoleBinding"):
        assert binding["subjects"][0]["namespace"] == "rstore-system"
        assert binding["roleRef"]["kind"] == "Role"
