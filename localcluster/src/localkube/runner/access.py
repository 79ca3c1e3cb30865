"""How a pod's processes reach the API server: the files of a service account mount, with a kubeconfig among them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class ClusterAccess:
    """Address and CA of the API server."""

    url: str
    ca_pem: bytes


@dataclass(frozen=True)
class Outlook:
    """What a pod sees: the file of the cluster's names, and the API server."""

    dns_file: Path
    access: ClusterAccess


def kubeconfig(access: ClusterAccess, namespace: str, token: str) -> bytes:
    """Returns a kubeconfig with a bearer token."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "local",
                    "cluster": {
                        "server": access.url,
                        "certificate-authority-data": base64.b64encode(access.ca_pem).decode(),
                    },
                }
            ],
            "users": [{"name": "pod", "user": {"token": token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "pod", "namespace": namespace}}],
            "current-context": "local",
        }
    ).encode()


def account_files(access: ClusterAccess, namespace: str, token: str) -> Mapping[str, bytes]:
    """Returns the files of `/var/run/secrets/kubernetes.io/serviceaccount`."""
    return {
        "token": token.encode(),
        "ca.crt": access.ca_pem,
        "namespace": namespace.encode(),
        "kubeconfig": kubeconfig(access, namespace, token),
    }
