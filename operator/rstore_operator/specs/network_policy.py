"""The NetworkPolicy of a store: who may connect to its replicas, where the network enforces policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import STORE_LABEL

from rstore_operator.resource.model import NetworkPolicySpec, OperatorPods, StoreRef
from rstore_operator.specs.labels import metadata

NAMESPACE_NAME = "kubernetes.io/metadata.name"


def network_policy(ref: StoreRef, spec: NetworkPolicySpec, operator: OperatorPods) -> dict[str, Any]:
    """Lets replicas reach each other, the operator reach them, and clients and metrics in as the spec allows.

    Probes come from the node, which a policy does not stop. What leaves a pod is not restricted.
    """
    replicas = {"podSelector": {"matchLabels": {STORE_LABEL: ref.name}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(ref, names.store_object(ref.name)),
        "spec": {
            "podSelector": replicas["podSelector"],
            "policyTypes": ["Ingress"],
            "ingress": [
                rule([replicas], names.CLIENT_PORT, names.PEER_PORT),
                rule(operator_peers(operator), names.PEER_PORT),
                rule(spec.clients, names.CLIENT_PORT),
                rule(spec.metrics, names.HTTP_PORT),
            ],
        },
    }


def rule(peers: object, *ports: int) -> dict[str, Any]:
    """Lets these peers connect to the ports; without peers, everybody."""
    made: dict[str, Any] = {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}
    return {**made, "from": list(peers)} if isinstance(peers, list | tuple) and peers else made


def operator_peers(operator: OperatorPods) -> list[Mapping[str, Any]]:
    """The operator as a peer; none where it does not run in a pod of this cluster, since nobody knows its address."""
    if not operator.namespace:
        return []
    return [
        {
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: operator.namespace}},
            "podSelector": {"matchLabels": dict(operator.labels)},
        }
    ]
