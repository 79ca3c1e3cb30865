"""The objects that are there from the start: the system's namespaces, and the roles that everybody relies on."""

from __future__ import annotations

from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.kinds.access import GROUP

_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_PUBLIC = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_PUBLIC]
_ROLES: dict[str, tuple[list[JsonObject], list[str]]] = {
    # name: rules, and the groups that they are bound to
    "cluster-admin": (
        [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ],
        ["system:masters"],
    ),
    "system:basic-user": (
        [
            {
                "verbs": ["create"],
                "apiGroups": ["authorization.k8s.io"],
                "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            },
            {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
        ],
        ["system:authenticated"],
    ),
    "system:discovery": (
        [{"verbs": ["get"], "nonResourceURLs": sorted(_DISCOVERY)}],
        ["system:authenticated"],
    ),
    "system:public-info-viewer": (
        [{"verbs": ["get"], "nonResourceURLs": _PUBLIC}],
        ["system:authenticated", "system:unauthenticated"],
    ),
}
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def bootstrap_objects() -> list[tuple[str, JsonObject]]:
    """(key of the resource, object) of everything that is there from the start."""
    objects: list[tuple[str, JsonObject]] = [("namespaces", {"metadata": {"name": name}}) for name in NAMESPACES]
    for name, (rules, groups) in _ROLES.items():
        metadata = {"name": name, "labels": _LABELS, "annotations": _ANNOTATIONS}
        subjects = [{"apiGroup": GROUP, "kind": "Group", "name": group} for group in groups]
        reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}
        objects.append((f"clusterroles.{GROUP}", {"metadata": metadata, "rules": rules}))
        binding = {"metadata": metadata, "roleRef": reference, "subjects": subjects}
        objects.append((f"clusterrolebindings.{GROUP}", binding))
    return objects
