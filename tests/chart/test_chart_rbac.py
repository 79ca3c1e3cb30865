"""The operator may do what its code does, and nothing else.

What it does is found twice: by the table below, for people, and by asking the code, so that neither can be forgotten.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import kopf
from kubernetes.aio.client import Configuration
from rstore_api.domain.kubernetes import CHILD_KINDS, GROUP, SEEN_KINDS
from rstore_kube.access import Access
from rstore_kube.client import KubeClient
from rstore_operator import handlers
from rstore_operator.cluster.site import Site
from rstore_operator.facts.actions import Notice, UpdateRequestedBase
from rstore_operator.resource.model import ReplicaImage, StoreRef
from rstore_operator.resource.requested_base import BaseStatus
from rstore_operator.specs.labels import metadata

if TYPE_CHECKING:
    from conftest import Helm, Rendered

WATCHED = {"get", "list", "watch"}
OWNED = WATCHED | {"create", "patch", "delete"}

# Every permission, and what needs it. A line that is added here needs a caller in rstore_operator.
USED: dict[tuple[str, str], set[str]] = {
    (GROUP, "replicatedstores"): WATCHED | {"patch"},  # watch; annotations, old finalizers
    (GROUP, "replicatedstores/status"): {"patch"},
    (GROUP, "replicatedstorebackups"): WATCHED | {"patch"},  # its owner; what a new store begins with
    (GROUP, "replicatedstorebackups/status"): {"patch"},
    (GROUP, "replicatedstores/finalizers"): {"update"},  # blockOwnerDeletion in owner references
    ("", "configmaps"): OWNED,
    ("", "secrets"): OWNED,
    ("", "serviceaccounts"): OWNED,
    ("", "services"): OWNED,
    ("apps", "deployments"): OWNED,
    ("apps", "statefulsets"): OWNED,
    ("policy", "poddisruptionbudgets"): OWNED,
    ("networking.k8s.io", "networkpolicies"): OWNED,
    ("", "pods"): {"list", "watch", "delete"},
    ("", "persistentvolumeclaims"): WATCHED | {"patch", "delete"},  # whose data it holds; larger, other volumes
    ("", "events"): {"create", "list"},  # its own; why a StatefulSet's pods could not be created
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
    leases = {("coordination.k8s.io", "leases"): {"get"}}  # those of other releases
    assert permissions(default.operator_role) == USED | leases


def test_the_role_covers_the_kinds_that_the_project_knows() -> None:
    assert {(kind.group, kind.plural) for kind in CHILD_KINDS.values()} == {key for key in USED if USED[key] == OWNED}
    assert {(kind.group, kind.plural) for kind in SEEN_KINDS.values()} == {
        key for key in USED if {"list", "watch"} <= USED[key] and key[0] != GROUP
    }


def test_no_rule_has_a_wildcard_or_touches_rbac_or_exec(default: Rendered) -> None:
    for rule in default.operator_role["rules"]:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"]
        assert not {"pods/exec", "pods/portforward", "nodes"} & set(rule["resources"])


def test_the_binding_binds_the_operators_service_account(default: Rendered) -> None:
    binding = default.one("ClusterRoleBinding")
    assert binding["roleRef"]["name"] == default.operator_role["metadata"]["name"]
    account = default.one("ServiceAccount")["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    assert default.pod["serviceAccountName"] == account["name"]


def test_an_operator_of_some_namespaces_gets_nothing_cluster_wide(namespaced: Rendered) -> None:
    assert namespaced.all("ClusterRoleBinding") == []
    roles = [role for role in namespaced.all("Role") if role["metadata"]["namespace"] != "rstore-system"]
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]
    for role in roles:
        assert permissions(role) == USED
    for binding in namespaced.all("RoleBinding"):
        assert binding["roleRef"]["kind"] == "Role"
        if binding["metadata"]["namespace"] != "rstore-system":
            assert binding["subjects"][0]["namespace"] == "rstore-system"


def test_its_own_lease_is_all_that_it_may_write_in_its_namespace_and_all_that_others_may_read(
    default: Rendered, namespaced: Rendered
) -> None:
    for rendered in (default, namespaced):
        lease = rendered.one("Deployment")["metadata"]["name"]
        roles = {role["metadata"]["name"]: role for role in rendered.all("Role")}
        limited = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [lease]}
        create = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]}
        own, reader = roles[f"{lease}-lease"], roles[f"{lease}-lease-reader"]
        assert own["rules"] == [create, {**limited, "verbs": ["get", "patch"]}]
        assert reader["rules"] == [{**limited, "verbs": ["get"]}]
        assert own["metadata"]["namespace"] == reader["metadata"]["namespace"] == "rstore-system"
        subjects = {item["roleRef"]["name"]: item["subjects"] for item in rendered.all("RoleBinding")}
        assert subjects[f"{lease}-lease-reader"][0]["name"] == "system:authenticated"
        assert subjects[f"{lease}-lease"][0]["kind"] == "ServiceAccount"


def test_namespaces_that_come_and_go_need_a_cluster_role(helm: Helm) -> None:
    rendered = helm.render(watchNamespaces=["team-a"], rbac={"create": True, "clusterWide": True})
    assert permissions(rendered.operator_role).items() >= USED.items()
    assert [role for role in rendered.all("Role") if role["metadata"]["namespace"] == "team-a"] == []


def test_the_roles_for_people_are_about_stores_alone_and_bound_to_nobody(helm: Helm, default: Rendered) -> None:
    roles = [role for role in default.all("ClusterRole") if role != default.operator_role]
    by_label: dict[str, set[str]] = {}
    for role in roles:
        for label in role["metadata"]["labels"]:
            if label.startswith("rbac.authorization.k8s.io/aggregate-to-"):
                assert {group for group, _ in permissions(role)} == {GROUP}
                by_label.setdefault(label.rpartition("-")[2], set()).update(*permissions(role).values())
    assert by_label["view"] == {"get", "list", "watch"}
    assert by_label["edit"] == by_label["admin"] == by_label["view"] | {
        "create", "update", "patch", "delete", "deletecollection",
    }  # fmt: skip
    without = helm.render(rbac={"create": True, "aggregateClusterRoles": False})
    assert without.all("ClusterRole") == [without.operator_role]


# ---- what the code asks for

PATH = re.compile(r"^/apis?/(?:(?P<group>[a-z0-9.-]+\.[a-z0-9.-]+|apps|policy)/)?v[^/]+/namespaces/n/(?P<rest>.+)$")
STORE = StoreRef("n", "orders", "uid")


class RecordingClient(KubeClient):
    """The operator's own client, which records its requests instead of sending them."""

    def __init__(self) -> None:
        super().__init__(Access(Configuration(), "n"), field_manager="test", timeout_seconds=1)
        self.asked: dict[tuple[str, str], set[str]] = {}

    async def _request(
        self, method: str, path: str, content_type: str = "", body: object = None, query: object = None
    ) -> dict[str, Any]:
        match = PATH.match(path)
        assert match is not None, path
        parts = match["rest"].split("/")
        resource = "/".join([parts[0], *parts[2:]])
        verbs = {"GET": {"get"}, "PATCH": {"patch"}, "POST": {"create"}, "DELETE": {"delete"}}[method]
        if method == "GET" and len(parts) == 1:
            verbs = {"list"}
        if "apply-patch" in content_type:
            verbs = {"patch", "create"}  # what does not exist yet is created, which is authorized by itself
        self.asked.setdefault((match["group"] or "", resource), set()).update(verbs)
        return {"metadata": {}}


async def requests_of_the_operator() -> dict[tuple[str, str], set[str]]:
    """Makes every request of a site, for every kind of child."""
    client = RecordingClient()
    site = Site(STORE, client, watched=None)  # type: ignore[arg-type]
    await site.store()
    await site.patch_status({}, "1")
    await site.remove_annotations({"a": "b"})
    for kind in CHILD_KINDS:
        manifest = {"kind": kind, "metadata": {"namespace": "n", "name": "x"}}
        await site.live((kind, "x"))
        await site.is_ours_to_use((kind, "x"))
        await site.adopt((kind, "x"), manifest)
        await site.apply(manifest, None)
        await site.delete((kind, "x"), "uid")
    await site.requested_base("x")
    await site.update_requested_base(UpdateRequestedBase("x", "uid", "1", BaseStatus(), ()))
    await site.look_up_claim("x", "us-east")
    await site.grow_claim("x", "2Gi", "1")
    await site.delete_claim("x", "uid")
    await site.delete_pod("x", "uid", "1")
    await site.events_about(("StatefulSet", "x"), ["FailedCreate"])
    await site.post_event("1", Notice("Reason", "message"), datetime.now(UTC))
    return client.asked


def watches_of_kopf() -> dict[tuple[str, str], set[str]]:
    """What the registered handlers make kopf list and watch, and patch for a finalizer, if a handler needs one."""
    registry = kopf.OperatorRegistry()
    handlers.Handlers(None, ReplicaImage("image", "Always")).register(registry)  # type: ignore[arg-type]
    found: dict[tuple[str, str], set[str]] = {}
    for part, verbs in (
        (registry._indexing, {"list", "watch"}),
        (registry._watching, {"list", "watch"}),
        (registry._spawning, {"list", "watch", "patch"}),
        (registry._changing, {"list", "watch", "patch"}),
    ):
        for handler in part.get_all_handlers():
            selector = handler.selector
            assert selector is not None
            assert selector.any_name is not None
            found.setdefault((selector.group or "", selector.any_name), set()).update(verbs)
    return found


def test_the_table_is_what_the_code_asks_for() -> None:
    asked = asyncio.run(requests_of_the_operator())
    for key, verbs in watches_of_kopf().items():
        asked.setdefault(key, set()).update(verbs)
    if any(owner.get("blockOwnerDeletion") for owner in metadata(STORE, "x")["ownerReferences"]):
        asked["replicatedstore.io", "replicatedstores/finalizers"] = {"update"}
    assert asked == USED


def test_every_request_of_a_site_is_in_this_test() -> None:
    requests = {name for name, method in vars(Site).items() if inspect.iscoroutinefunction(method)}
    assert requests == {
        "store",
        "patch_status",
        "remove_annotations",
        "requested_base",
        "update_requested_base",
        "live",
        "is_ours_to_use",
        "look_up_claim",
        "adopt",
        "apply",
        "delete",
        "grow_claim",
        "delete_claim",
        "delete_pod",
        "events_about",
        "post_event",
    }


def test_kopf_is_kept_from_asking_for_more() -> None:
    """It would watch namespaces and CRDs, and post events of its own."""
    settings = kopf.OperatorSettings()
    asyncio.run(handlers.configure(settings))
    assert settings.scanning.disabled
    assert not settings.posting.enabled
    assert settings.peering.standalone
