"""The PodDisruptionBudget of a region."""

from __future__ import annotations

from typing import Any

from rstore_api.domain import names

from rstore_operator.resource.model import StoreRef
from rstore_operator.specs.labels import metadata, selector_labels


def disruption_budget(ref: StoreRef, region: str) -> dict[str, Any]:
    """At most one replica of the region is taken down on purpose at a time; a region of one can still be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(ref, names.region_object(ref.name, region), region),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector_labels(ref.name, region)}},
    }
