"""The resources that controllers and the runner use."""

from __future__ import annotations

from typing import Any

from localkube.apiserver.resources import BUILTIN

Obj = dict[str, Any]

_BY_KEY = {resource.key: resource for resource in BUILTIN}
NAMESPACES = _BY_KEY["namespaces"]
NODES = _BY_KEY["nodes"]
PODS = _BY_KEY["pods"]
SERVICES = _BY_KEY["services"]
ENDPOINTS = _BY_KEY["endpoints"]
CONFIG_MAPS = _BY_KEY["configmaps"]
SECRETS = _BY_KEY["secrets"]
SERVICE_ACCOUNTS = _BY_KEY["serviceaccounts"]
EVENTS = _BY_KEY["events"]
PVCS = _BY_KEY["persistentvolumeclaims"]
PVS = _BY_KEY["persistentvolumes"]
STATEFUL_SETS = _BY_KEY["statefulsets.apps"]
DEPLOYMENTS = _BY_KEY["deployments.apps"]
REPLICA_SETS = _BY_KEY["replicasets.apps"]
CONTROLLER_REVISIONS = _BY_KEY["controllerrevisions.apps"]
PDBS = _BY_KEY["poddisruptionbudgets.policy"]
ENDPOINT_SLICES = _BY_KEY["endpointslices.discovery.k8s.io"]
STORAGE_CLASSES = _BY_KEY["storageclasses.storage.k8s.io"]
CRDS = _BY_KEY["customresourcedefinitions.apiextensions.k8s.io"]
