"""The built-in kinds, each with what is particular to it: defaults, what is added on top, validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.kinds import (
    access,
    budgets,
    claims,
    config,
    endpoints,
    events,
    leases,
    network_policies,
    nodes,
    pods,
    priorities,
    services,
    workloads,
)

Change = Callable[[JsonObject, JsonObject | None], None]
Validate = Callable[[JsonObject, JsonObject | None, str], list[Cause]]

RBAC = "rbac.authorization.k8s.io"


def _nothing(obj: JsonObject, old: JsonObject | None) -> None:
    del obj, old


@dataclass(frozen=True)
class Kind:
    """What is particular to a kind. Each function gets the object (to change in place) and the one before, if any."""

    default: Change = _nothing
    """Fills in what the client left out; belongs to the manager that wrote the object."""
    complete: Change = _nothing
    """Adds what no client asked for; it is nobody's."""
    validate: Validate | None = None
    """Everything wrong with an object; the third argument is the subresource. None: what its schema requires."""


KINDS: dict[str, Kind] = {
    "namespaces": Kind(nodes.default_namespace, nodes.complete_namespace, lambda obj, old, sub: []),  # noqa: ARG005
    "nodes": Kind(nodes.default_node, validate=nodes.validate_node),
    "pods": Kind(pods.default_pod, pods.complete_pod, pods.validate_pod),
    "services": Kind(services.default_service, services.complete_service, services.validate_service),
    "configmaps": Kind(validate=config.validate_configmap),
    "secrets": Kind(config.default_secret, validate=config.validate_secret),
    "persistentvolumeclaims": Kind(claims.default_claim, validate=claims.validate_claim),
    "persistentvolumes": Kind(claims.default_volume, validate=claims.validate_volume),
    "events": Kind(events.default_event, events.complete_event, events.validate_event),
    "endpoints": Kind(endpoints.default_endpoints, validate=endpoints.validate_endpoints),
    "endpointslices.discovery.k8s.io": Kind(
        endpoints.default_endpoint_slice, validate=endpoints.validate_endpoint_slice
    ),
    "priorityclasses.scheduling.k8s.io": Kind(
        priorities.default_priority_class, validate=priorities.validate_priority_class
    ),
    "controllerrevisions.apps": Kind(validate=workloads.validate_revision),
    "statefulsets.apps": Kind(workloads.default_statefulset, validate=workloads.validate_statefulset),
    "deployments.apps": Kind(workloads.default_deployment, validate=workloads.validate_deployment),
    "replicasets.apps": Kind(workloads.default_replicaset, validate=workloads.validate_replicaset),
    "poddisruptionbudgets.policy": Kind(budgets.default_budget, validate=budgets.validate_budget),
    f"roles.{RBAC}": Kind(access.default_role, validate=access.validate_role),
    f"clusterroles.{RBAC}": Kind(access.default_role, validate=access.validate_clusterrole),
    f"rolebindings.{RBAC}": Kind(access.default_binding, validate=access.validate_rolebinding),
    f"clusterrolebindings.{RBAC}": Kind(access.default_binding, validate=access.validate_clusterrolebinding),
    "leases.coordination.k8s.io": Kind(leases.default_lease, leases.complete_lease, leases.validate_lease),
    "networkpolicies.networking.k8s.io": Kind(
        network_policies.default_network_policy, validate=network_policies.validate_network_policy
    ),
    "storageclasses.storage.k8s.io": Kind(claims.default_storage_class, validate=claims.validate_storage_class),
}
OTHER = Kind()


def kind_of(key: str) -> Kind:
    """Returns what is particular to the kind of a resource."""
    return KINDS.get(key, OTHER)
