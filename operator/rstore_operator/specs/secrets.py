"""Secrets of a store, without their data: keys and certificates are random, and made when they are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rstore_operator.planning.actions import CertificateRequest
from rstore_operator.resource.model import StoreRef
from rstore_operator.specs import names
from rstore_operator.specs.labels import metadata

PEER = "peer"
CLIENT = "client"
OPERATOR = "operator"
CA_CERT = "ca.crt"
CA_KEY = "ca.key"
TLS_CERT = "tls.crt"
TLS_KEY = "tls.key"


def secret(ref: StoreRef, name: str, region: str | None = None) -> dict[str, Any]:
    """The Secret without data."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": metadata(ref, name, region),
    }


def peer_request(ref: StoreRef, region: str, cluster_ips: Iterable[str]) -> CertificateRequest:
    """The certificate of a region's replicas: every name and address by which they, or their Services, are called."""
    peers = f"{names.peers_service(ref.name, region)}.{ref.namespace}.svc"
    services = [
        f"{name}{suffix}"
        for name in (names.region_object(ref.name, region), names.store_object(ref.name))
        for suffix in ("", f".{ref.namespace}", f".{ref.namespace}.svc")
    ]
    return CertificateRequest(
        common_name=PEER,
        dns_names=(f"*.{peers}", f"*.{peers}.cluster.local", *services, "localhost"),
        ip_addresses=tuple(sorted({"127.0.0.1", "::1", *cluster_ips})),
        server=True,
    )
