"""The objects that a store has while it is restored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rstore_api.domain import names

from rstore_operator.facts.observed import ChildKey, Observed
from rstore_operator.planning.children.ownership import restorer_keys
from rstore_operator.resource.model import OperatorPods, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.labels import with_hash
from rstore_operator.specs.restorer import Restore, restorer_config_map, restorer_deployment, restorer_network_policy


def restorer_manifests(
    ref: StoreRef,
    spec: StoreSpec,
    primary_region: str,
    image: ReplicaImage,
    observed: Observed,
    operator: OperatorPods,
    restore: Restore | None,
) -> Iterator[dict[str, Any]]:
    """The restorer's ConfigMap and NetworkPolicy, and its Deployment once its certificate is there and its credentials
    are known; nothing where it is not known what it is to do: what is there stays as it is."""
    if spec.bootstrap is None or restore is None:
        return
    yield with_hash(restorer_config_map(ref, spec, primary_region, restore))
    if spec.network_policy.enabled:
        yield with_hash(restorer_network_policy(ref, spec, operator))
    has_certificate = ("Secret", names.restorer_tls_secret(ref.name)) in observed.children
    credentials = observed.restorer.credentials
    if has_certificate and credentials is not None:
        yield with_hash(restorer_deployment(ref, spec, primary_region, restore.place, image, credentials))


def restorer_leftovers(ref: StoreRef, spec: StoreSpec) -> tuple[ChildKey, ...]:
    """The objects of the restorer that are not wanted; some of them may not be there."""
    if spec.bootstrap is None:
        return restorer_keys(ref.name)
    return () if spec.network_policy.enabled else (("NetworkPolicy", names.restorer_object(ref.name)),)
