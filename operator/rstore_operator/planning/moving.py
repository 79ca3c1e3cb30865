"""Volumes of another StorageClass than the spec names, or away from where the spec places their pods. Neither can be
changed, so the volume is replaced. A claim that has no volume yet holds nothing, and is replaced wherever it asks for
another class.

A replica whose volume is replaced is filled by the others of its region, as after the loss of a volume. So its region
needs a majority without it: a region of one replica, or two, has three until its volumes are replaced.
"""

from __future__ import annotations

import re

from rstore_api.domain import names

from rstore_operator.facts.lacks import set_key
from rstore_operator.facts.observed import CLAIM, Claim, Observed
from rstore_operator.resource.model import RegionSpec

REPLICAS_AMID_MOVE = 3
_OF_VOLUME = frozenset(
    {"node(s) had volume node affinity conflict", "node(s) didn't match PersistentVolume's node affinity"}
)
_OF_PLACEMENT = frozenset({"node(s) didn't match Pod's node affinity/selector"})
_NODES = re.compile(r"^Unschedulable: 0/\d+ nodes are available: (.*?)(?:\. |\.?$)")
_REASON = re.compile(r"^\d+ ")


def is_of_other_class(claim: Claim, region: RegionSpec) -> bool:
    """Return whether the volume has to be replaced. Where the spec names no class, every class is right."""
    return region.storage_class is not None and claim.storage_class != region.storage_class


def template_class(store: str, region: str, observed: Observed) -> str | None:
    """Return the class that the region's StatefulSet asks for; None where it names none, or does not exist."""
    live = observed.children.get(set_key(store, region)) or {}
    templates = (live.get("spec") or {}).get("volumeClaimTemplates") or []
    value = (templates[0].get("spec") or {}).get("storageClassName") if templates else None
    return value if isinstance(value, str) else None


def is_away_from_volume(problem: str) -> bool:
    """Return whether the scheduler found nodes for the pod, by its own rules, and its volume can be used on none of
    them. A node that is cordoned, tainted or full may be the volume's, so any other reason speaks against it."""
    match = _NODES.match(problem)
    reasons = {_REASON.sub("", reason) for reason in match[1].split(", ")} if match is not None else set()
    return bool(reasons & _OF_VOLUME) and reasons <= _OF_VOLUME | _OF_PLACEMENT


def old_volumes(store: str, region: RegionSpec, observed: Observed) -> dict[str, Claim]:
    """Return the claims that may be replaced now, by pod: none before the StatefulSet makes claims of the right
    class."""
    if region.storage_class is None or template_class(store, region.name, observed) != region.storage_class:
        return {}
    claims = {pod.name: observed.claims.get(names.claim_of(pod.name)) for pod in observed.region(region.name).pods}
    return {pod: claim for pod, claim in claims.items() if claim is not None and is_of_other_class(claim, region)}


def unbound_of_other_class(store: str, region: RegionSpec, observed: Observed) -> dict[str, Claim]:
    """Return the claims, by pod, that have no volume and ask for another class than the StatefulSet by now. Where the
    spec names none, a class is wrong that does not exist."""
    if set_key(store, region.name) not in observed.children:
        return {}
    if template_class(store, region.name, observed) != region.storage_class:
        return {}
    claims = {pod.name: observed.claims.get(names.claim_of(pod.name)) for pod in observed.region(region.name).pods}
    return {
        pod: claim
        for pod, claim in claims.items()
        if claim is not None and not claim.bound and _asks_in_vain(claim, region, observed)
    }


def _asks_in_vain(claim: Claim, region: RegionSpec, observed: Observed) -> bool:
    unknown = f'"{claim.storage_class}" not found' in observed.refusals.get((CLAIM, claim.name), "")
    return is_of_other_class(claim, region) or (region.storage_class is None and unknown)


def replicas_amid_move(store: str, region: RegionSpec, running: int, observed: Observed) -> int:
    """Return how many replicas the region should have now, of which ``running`` were decided to run last."""
    if region.replicas >= REPLICAS_AMID_MOVE or region.storage_class is None:
        return region.replicas
    staying = [observed.claims.get(names.claim(store, region.name, ordinal)) for ordinal in range(region.replicas)]
    other = any(claim is not None and is_of_other_class(claim, region) for claim in staying)
    if running > region.replicas:  # a claim that is gone is about to be made anew
        return REPLICAS_AMID_MOVE if other or None in staying else region.replicas
    ready = template_class(store, region.name, observed) == region.storage_class
    return REPLICAS_AMID_MOVE if other and ready else region.replicas
