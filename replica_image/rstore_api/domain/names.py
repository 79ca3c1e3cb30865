"""The names of everything that runs for a store; every part of the project relies on them."""

from __future__ import annotations

CLIENT_PORT = 2379
PEER_PORT = 2380
HTTP_PORT = 9090


def region_object(store: str, region: str) -> str:
    """StatefulSet, client Service, PodDisruptionBudget and ConfigMap of a region."""
    return f"{store}-{region}"


def peers_service(store: str, region: str) -> str:
    """Headless Service of a region."""
    return f"{store}-{region}-peers"


def store_object(store: str) -> str:
    """Client Service of the primary region, and the ServiceAccount of all replicas."""
    return store


def authority_secret(store: str) -> str:
    """Secret of the certificate authority; for the operator only."""
    return f"{store}-ca"


def region_tls_secret(store: str, region: str) -> str:
    """Secret of a region's replicas."""
    return f"{store}-{region}-tls"


def client_tls_secret(store: str) -> str:
    """Secret for clients that have no certificate of their own."""
    return f"{store}-client-tls"


def own_tls_secret(store: str, client: str) -> str:
    """Secret for one client."""
    return f"{store}-client-{client}-tls"


def operator_tls_secret(store: str) -> str:
    """Secret of the operator's own certificate."""
    return f"{store}-operator-tls"


def archiver_object(store: str) -> str:
    """Deployment, ConfigMap and NetworkPolicy of the archiver."""
    return f"{store}-archiver"


def archiver_tls_secret(store: str) -> str:
    """Secret of the archiver's certificate."""
    return f"{store}-archiver-tls"


def restorer_object(store: str) -> str:
    """Deployment, ConfigMap and NetworkPolicy of the restorer."""
    return f"{store}-restorer"


def restorer_tls_secret(store: str) -> str:
    """Secret of the restorer's certificate."""
    return f"{store}-restorer-tls"


def pod_names(store: str, region: str, replicas: int) -> tuple[str, ...]:
    """The pods of a region, as its StatefulSet names them."""
    return tuple(f"{store}-{region}-{ordinal}" for ordinal in range(replicas))


def claim(store: str, region: str, ordinal: int) -> str:
    """The claim of a pod's volume, as the StatefulSet names it."""
    return f"data-{region_object(store, region)}-{ordinal}"


def claim_of(pod: str) -> str:
    """The claim of the volume of that pod."""
    return f"data-{pod}"


def pod_host(store: str, region: str, namespace: str, pod: str) -> str:
    """A pod's host name; the resolver's search path adds the cluster's domain."""
    return f"{pod}.{peers_service(store, region)}.{namespace}.svc"
