"""Whose an object is: this store's, nobody's any more and so this store's to adopt, or somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import (
    ARCHIVER,
    CLIENT_LABEL,
    COMPONENT_LABEL,
    GROUP,
    KIND,
    MANAGED_BY,
    OPERATOR_FIELD_MANAGER,
    REGION_LABEL,
    RESTORER,
    STORE_LABEL,
)

from rstore_operator.facts.observed import ChildKey
from rstore_operator.resource.model import StoreRef
from rstore_operator.specs.labels import owner_reference

Body = Mapping[str, Any]


class Standing(Enum):
    """An object is ours when this very store object controls it. It is an orphan when it has our labels and the name
    that our object has, and nobody that is there controls it: its store was deleted around it, or it was restored."""

    OURS = "Ours"
    ORPHAN = "Orphan"
    FOREIGN = "Foreign"


def standing(ref: StoreRef, key: ChildKey, body: Body) -> Standing:
    """Whose the object with that key is."""
    meta = body.get("metadata") or {}
    controller = next((owner for owner in meta.get("ownerReferences") or () if owner.get("controller")), None)
    if controller is not None and controller.get("uid") == ref.uid:
        return Standing.OURS
    labels = meta.get("labels") or {}
    region = labels.get(REGION_LABEL)
    client = labels.get(CLIENT_LABEL)
    parts = (region,) if region else (), (client,) if client else ()
    component = labels.get(COMPONENT_LABEL)
    archived, restored = component == ARCHIVER, component == RESTORER
    own_names = {wanted for wanted, _ in wanted_names(ref.name, *parts, archived=archived, restored=restored)}
    labelled = labels.get(STORE_LABEL) == ref.name and labels.get(MANAGED_BY) == OPERATOR_FIELD_MANAGER
    free = (controller is None or _is_gone(ref, controller)) and not meta.get("deletionTimestamp")
    return Standing.ORPHAN if labelled and free and key in own_names else Standing.FOREIGN


def _is_gone(ref: StoreRef, owner: Mapping[str, Any]) -> bool:
    """Whether the owner is a store object that was there before this one: a name is only given once at a time."""
    group = str(owner.get("apiVersion", "")).partition("/")[0]
    return (group, owner.get("kind"), owner.get("name")) == (GROUP, KIND, ref.name) and owner.get("uid") != ref.uid


def adopted_owners(ref: StoreRef, body: Body) -> list[dict[str, Any]]:
    """The owner references of an orphan once it is ours: those of store objects that are gone are dropped."""
    owners = body["metadata"].get("ownerReferences") or ()
    others = [dict(owner) for owner in owners if not _is_gone(ref, owner) and owner.get("uid") != ref.uid]
    return [*others, owner_reference(ref)]


def holder(body: Body) -> str:
    """Who has an object that is not ours, and what lets us have its name."""
    meta = body.get("metadata") or {}
    if meta.get("deletionTimestamp"):
        return "is being deleted"
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return f"is controlled by {owner.get('kind')} {owner.get('name')}"
    store = (meta.get("labels") or {}).get(STORE_LABEL)
    return f"is labelled as store {store}'s" if store else "was made by somebody else"


def claim_holder(ref: StoreRef, region: str, body: Body) -> str:
    """Return whose data a claim holds, when it is another store's or region's; "" when it is ours or does not say.

    A claim without labels was made by hand: the replica looks at what is on its volume.
    """
    labels = (body.get("metadata") or {}).get("labels") or {}
    store, of_region = labels.get(STORE_LABEL), labels.get(REGION_LABEL)
    if not store or (store, of_region) == (ref.name, region):
        return ""
    return f"holds data of region {of_region} of store {store}, not of region {region} of store {ref.name}"


def client_part(client: str) -> str:
    """What :func:`wanted_names` has in the place of a region for what is a client's."""
    return f"client {client}"


COMPONENT_PARTS = {ARCHIVER: "the archiver", RESTORER: "the restorer"}
"""What :func:`wanted_names` has in the place of a region for what is the component's."""


def part_of(manifest: Body) -> str:
    """What :func:`wanted_names` has beside the object of that manifest."""
    labels = manifest["metadata"]["labels"]
    if labels.get(COMPONENT_LABEL) in COMPONENT_PARTS:
        return COMPONENT_PARTS[labels[COMPONENT_LABEL]]
    return client_part(labels[CLIENT_LABEL]) if CLIENT_LABEL in labels else labels.get(REGION_LABEL, "")


def archiver_keys(store: str) -> tuple[ChildKey, ...]:
    """The objects that a store has while it is archived."""
    return (
        ("ConfigMap", names.archiver_object(store)),
        ("Deployment", names.archiver_object(store)),
        ("NetworkPolicy", names.archiver_object(store)),
        ("Secret", names.archiver_tls_secret(store)),
    )


def restorer_keys(store: str) -> tuple[ChildKey, ...]:
    """The objects that a store has while it is restored."""
    return (
        ("ConfigMap", names.restorer_object(store)),
        ("Deployment", names.restorer_object(store)),
        ("NetworkPolicy", names.restorer_object(store)),
        ("Secret", names.restorer_tls_secret(store)),
    )


def wanted_names(
    store: str,
    regions: tuple[str, ...],
    clients: tuple[str, ...] = (),
    *,
    archived: bool = False,
    restored: bool = False,
) -> tuple[tuple[ChildKey, str], ...]:
    """Every object that a store of these regions and clients is made of, and its region, :func:`client_part` or
    one of COMPONENT_PARTS; "" for the store's own."""
    found: list[tuple[ChildKey, str]] = [
        (("Service", names.store_object(store)), ""),
        (("ServiceAccount", names.store_object(store)), ""),
        (("NetworkPolicy", names.store_object(store)), ""),
        (("Secret", names.authority_secret(store)), ""),
        (("Secret", names.operator_tls_secret(store)), ""),
        (("Secret", names.client_tls_secret(store)), ""),
    ]
    found += [(key, COMPONENT_PARTS[ARCHIVER]) for key in archiver_keys(store) if archived]
    found += [(key, COMPONENT_PARTS[RESTORER]) for key in restorer_keys(store) if restored]
    found += [(("Secret", names.own_tls_secret(store, client)), client_part(client)) for client in clients]
    for region in regions:
        found += [
            (("Service", names.peers_service(store, region)), region),
            (("Service", names.region_object(store, region)), region),
            (("ConfigMap", names.region_object(store, region)), region),
            (("PodDisruptionBudget", names.region_object(store, region)), region),
            (("Secret", names.region_tls_secret(store, region)), region),
            (("StatefulSet", names.region_object(store, region)), region),
        ]
    return tuple(found)
