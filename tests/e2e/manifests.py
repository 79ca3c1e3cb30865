"""Manifests of the stores that tests make."""

from __future__ import annotations

from typing import Any

import yaml


def small_store(name: str, regions: list[str], **spec: Any) -> str:
    """Returns a store of one replica in each region, the first one primary; ``spec`` overrides the defaults."""
    return yaml.safe_dump(
        {
            "apiVersion": "replicatedstore.io/v1alpha1",
            "kind": "ReplicatedStore",
            "metadata": {"name": name},
            "spec": {
                "primaryRegion": regions[0],
                "regions": [{"name": region, "replicas": 1, "storage": {"size": "1Gi"}} for region in regions],
                **spec,
            },
        }
    )
