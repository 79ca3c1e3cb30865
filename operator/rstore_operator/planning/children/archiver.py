"""The objects that a store has while ``spec.backup`` is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rstore_api.domain import names

from rstore_operator.facts.observed import ChildKey, Observed
from rstore_operator.planning.children.ownership import archiver_keys
from rstore_operator.resource.model import OperatorPods, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.specs.archiver import archiver_deployment, archiver_network_policy
from rstore_operator.specs.labels import digest, with_hash


def archiver_manifests(
    ref: StoreRef, spec: StoreSpec, image: ReplicaImage, observed: Observed, operator: OperatorPods
) -> Iterator[dict[str, Any]]:
    """The archiver's Deployment, once its certificate is there and its credentials are known, and its NetworkPolicy.

    The certificate's Secret is planned with the others."""
    if spec.backup is None:
        return
    if spec.network_policy.enabled:
        yield with_hash(archiver_network_policy(ref, spec, operator))
    certificate = observed.children.get(("Secret", names.archiver_tls_secret(ref.name)))
    credentials = observed.archiver.credentials
    if certificate is not None and credentials is not None:
        started_with = {"certificate": certificate.get("data"), "credentials": credentials}
        yield with_hash(archiver_deployment(ref, spec, spec.backup, image, digest(started_with)))


def archiver_leftovers(ref: StoreRef, spec: StoreSpec) -> tuple[ChildKey, ...]:
    """The objects of the archiver that the spec does not want; some of them may not be there."""
    if spec.backup is None:
        return archiver_keys(ref.name)
    return () if spec.network_policy.enabled else (("NetworkPolicy", names.archiver_object(ref.name)),)
