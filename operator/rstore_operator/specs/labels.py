"""Labels and owner references that every child carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rstore_api.domain.kubernetes import (
    CLIENT_LABEL,
    COMPONENT_LABEL,
    KIND,
    MANAGED_BY,
    OPERATOR_FIELD_MANAGER,
    REGION_LABEL,
    SPEC_HASH,
    STORE,
    STORE_LABEL,
)

from rstore_operator.resource.model import StoreRef


def common_labels(
    store: str, region: str | None = None, client: str | None = None, component: str | None = None
) -> dict[str, str]:
    """Labels of an object of the store, or of one region, client or component of it."""
    labels = {
        "app.kubernetes.io/name": "replicated-store",
        "app.kubernetes.io/instance": store,
        MANAGED_BY: OPERATOR_FIELD_MANAGER,
        STORE_LABEL: store,
    }
    if region is not None:
        labels[REGION_LABEL] = region
    if client is not None:
        labels[CLIENT_LABEL] = client
    if component is not None:
        labels[COMPONENT_LABEL] = component
    return labels


def selector_labels(store: str, region: str) -> dict[str, str]:
    """What selects a region's pods: few and never changed."""
    return {STORE_LABEL: store, REGION_LABEL: region}


def component_labels(store: str, component: str) -> dict[str, str]:
    """What selects a component's pods: few and never changed."""
    return {STORE_LABEL: store, COMPONENT_LABEL: component}


def metadata(
    ref: StoreRef, name: str, region: str | None = None, client: str | None = None, component: str | None = None
) -> dict[str, Any]:
    """Metadata of a child: name, labels, and the store as its controlling owner."""
    return {
        "name": name,
        "namespace": ref.namespace,
        "labels": common_labels(ref.name, region, client, component),
        "ownerReferences": [owner_reference(ref)],
    }


def owner_reference(ref: StoreRef) -> dict[str, Any]:
    """The store as a child's controlling owner."""
    return {
        "apiVersion": STORE.api_version,
        "kind": KIND,
        "name": ref.name,
        "uid": ref.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def digest(value: object) -> str:
    """A short hash of a JSON value, the same for the same content."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_hash(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its own hash as an annotation, by which "we want it otherwise now" differs from "somebody
    changed it"."""
    meta = dict(manifest["metadata"])
    meta["annotations"] = {**meta.get("annotations", {}), SPEC_HASH: digest(manifest)}
    return {**manifest, "metadata": meta}
