"""The objects that a store has while ``spec.backup`` is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rstore_api.domain import names

from rstore_operator.facts.observed import ChildKey, Observed
from rstore_operator.planning.children.ownership import archiver_keys
from rstore_operator.planning.requested_bases import requests_of
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.model import OperatorPods, RegionSpec, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.archiver import (
    Drills,
    archiver_config_map,
    archiver_deployment,
    archiver_network_policy,
    configured_region,
    preferred_regions,
)
from rstore_operator.specs.labels import with_hash


def archiver_manifests(
    ref: StoreRef,
    spec: StoreSpec,
    primary_region: str,
    image: ReplicaImage,
    observed: Observed,
    operator: OperatorPods,
    drills: Drills,
) -> Iterator[dict[str, Any]]:
    """The archiver's ConfigMap and NetworkPolicy, and its Deployment once its certificate is there and its credentials
    are known. The certificate's Secret is planned with the others."""
    if spec.backup is None:
        return
    live = observed.children.get(("ConfigMap", names.archiver_object(ref.name)))
    source = source_region(spec, spec.backup, primary_region, observed, configured_region(live))
    yield with_hash(archiver_config_map(ref, spec, spec.backup, source, requests_of(observed.requested_bases), drills))
    if spec.network_policy.enabled:
        yield with_hash(archiver_network_policy(ref, spec, operator))
    has_certificate = ("Secret", names.archiver_tls_secret(ref.name)) in observed.children
    credentials = observed.archiver.credentials
    if has_certificate and credentials is not None:
        yield with_hash(archiver_deployment(ref, spec, spec.backup, image, credentials))


def source_region(
    spec: StoreSpec, backup: BackupSpec, primary_region: str, observed: Observed, present: str
) -> RegionSpec:
    """The region whose rows are archived; ``present`` is the one at the moment, and stays while it does.

    It should answer, and be primary or not as ``from`` says; where there is no such region, one that answers will do.
    """
    regions = sorted(preferred_regions(spec, backup), key=lambda region: region.name != present)
    answering = [region for region in regions if observed.leader(region.name) is not None]
    fitting = [region for region in answering if (region.name == primary_region) == (backup.source == "Primary")]
    return (fitting or answering or regions)[0]


def archiver_leftovers(ref: StoreRef, spec: StoreSpec) -> tuple[ChildKey, ...]:
    """The objects of the archiver that the spec does not want; some of them may not be there."""
    if spec.backup is None:
        return archiver_keys(ref.name)
    return () if spec.network_policy.enabled else (("NetworkPolicy", names.archiver_object(ref.name)),)
