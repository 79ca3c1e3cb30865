"""Secrets of a store: manifests without data (keys are random, made when they are missing), and data as it is read."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.limits import MAX_REPLICAS

from rstore_operator.facts.actions import CertificateRequest
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.units import is_ip_address
from rstore_operator.specs.labels import metadata

PEER = "peer"
CLIENT = "client"
OPERATOR = "operator"
CA_CERT = "ca.crt"
CA_KEY = "ca.key"
CA_PREVIOUS = "ca-previous.crt"
"""Authorities that are trusted besides the one in ``ca.crt``; in the authority's Secret only."""
TLS_CERT = "tls.crt"
TLS_KEY = "tls.key"


def secret(
    ref: StoreRef, name: str, region: str | None = None, client: str | None = None, component: str | None = None
) -> dict[str, Any]:
    """The Secret without data."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque" if client is None else "kubernetes.io/tls",
        "metadata": metadata(ref, name, region, client, component),
    }


def secret_value(live: Mapping[str, Any] | None, name: str) -> bytes:
    """One value of a live Secret; empty when it is missing or not base64."""
    try:
        return base64.b64decode(((live or {}).get("data") or {}).get(name, ""), validate=True)
    except (binascii.Error, ValueError):
        return b""


def with_data(manifest: Mapping[str, Any], data: Mapping[str, bytes], resource_version: str = "") -> dict[str, Any]:
    """The manifest of a Secret with its data; written only while that has ``resource_version``, if given."""
    condition = {"resourceVersion": resource_version} if resource_version else {}
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return {**manifest, "metadata": {**manifest["metadata"], **condition}, "data": encoded}


def peer_request(
    ref: StoreRef, region: str, cluster_ips: Iterable[str], cluster_domain: str, alternative_names: Iterable[str] = ()
) -> CertificateRequest:
    """The certificate of a region's replicas: every name under which the cluster's DNS answers for them or their
    Services, their addresses, and the names and addresses that the spec adds.

    Clients (OpenSSL) accept a wildcard only with two dots or more, so pods have their shortest names written out.
    """
    suffixes = ("", f".{ref.namespace}", f".{ref.namespace}.svc", f".{ref.namespace}.svc.{cluster_domain}")
    peers = names.peers_service(ref.name, region)
    services = (names.store_object(ref.name), names.region_object(ref.name, region), peers)
    dns_names = [f"{service}{suffix}" for service in services for suffix in suffixes]
    dns_names += [f"*.{peers}{suffix}" for suffix in suffixes[1:]]
    dns_names += [f"{pod}.{peers}" for pod in names.pod_names(ref.name, region, MAX_REPLICAS)]
    addresses = {"127.0.0.1", "::1", *cluster_ips}
    for name in alternative_names:
        if is_ip_address(name):
            addresses.add(str(ipaddress.ip_address(name)))
        else:
            dns_names.append(name)
    return CertificateRequest(
        common_name=PEER,
        dns_names=tuple(dict.fromkeys([*dns_names, "localhost"])),
        ip_addresses=tuple(sorted(addresses)),
        server=True,
    )
