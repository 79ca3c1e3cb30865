"""The ServiceAccount of a store's replicas: an identity without any permission or token."""

from __future__ import annotations

from typing import Any

from rstore_api.domain import names

from rstore_operator.resource.model import StoreRef
from rstore_operator.specs.labels import metadata


def service_account(ref: StoreRef) -> dict[str, Any]:
    """The ServiceAccount for all replicas of the store."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(ref, names.store_object(ref.name)),
        "automountServiceAccountToken": False,
    }
