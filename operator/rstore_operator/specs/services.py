"""Services of a store."""

from __future__ import annotations

from typing import Any

from rstore_api.domain import names

from rstore_operator.resource.model import StoreRef
from rstore_operator.specs.labels import metadata, selector_labels

_CLIENT = {"name": "client", "port": names.CLIENT_PORT, "protocol": "TCP", "targetPort": "client"}
_PEER = {"name": "peer", "port": names.PEER_PORT, "protocol": "TCP", "targetPort": "peer"}
_HTTP = {"name": "http", "port": names.HTTP_PORT, "protocol": "TCP", "targetPort": "http"}


def peers_service(ref: StoreRef, region: str) -> dict[str, Any]:
    """Gives every replica of a region its host name, before it is ready: replicas need each other to become so."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(ref, names.peers_service(ref.name, region), region),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "ports": [dict(_CLIENT), dict(_PEER), dict(_HTTP)],
            "selector": selector_labels(ref.name, region),
        },
    }


def region_service(ref: StoreRef, region: str) -> dict[str, Any]:
    """The Service for clients of one region."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(ref, names.region_object(ref.name, region), region),
        "spec": {"type": "ClusterIP", "ports": [dict(_CLIENT)], "selector": selector_labels(ref.name, region)},
    }


def store_service(ref: StoreRef, primary_region: str) -> dict[str, Any]:
    """The Service for clients that want the primary region, whichever it is."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(ref, names.store_object(ref.name)),
        "spec": {"type": "ClusterIP", "ports": [dict(_CLIENT)], "selector": selector_labels(ref.name, primary_region)},
    }
