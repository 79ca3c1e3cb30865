"""Giving fresh regions their store id.

The id is made once. As long as no region is known to have been bootstrapped, every region's leader is asked first:
volumes kept from an earlier life of the store carry the id, the data and the epochs, and those are adopted. Later, a
fresh region only ever joins as a secondary; a primary region that comes back empty has lost its data, and making it
primary anew would destroy the others'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth
from rstore_operator.planning.conditions.lacking_pods import Lacking


@dataclass(frozen=True)
class BootstrapPlan:
    """What to do. ``store_id`` is the one to persist; ``regions`` are to be given it, as secondaries or, in epoch 1, as
    primary."""

    store_id: str
    regions: tuple[str, ...] = ()
    waiting: str = ""
    problem: str = ""


def plan_bootstrap(
    regions: tuple[str, ...],
    observed: Observed,
    truth: Truth,
    recorded_id: str,
    fresh_id: str,
    lacking: Mapping[str, Lacking] = MappingProxyType({}),
) -> BootstrapPlan:
    """Decide on the id and on the regions that are given it. ``recorded_id`` is the one in status; ``lacking`` says, by
    region, which pods are not there."""
    ids = truth.store_ids
    if len(ids) > 1:
        stores = ", ".join(sorted(ids))
        return BootstrapPlan(recorded_id, problem=f"regions hold data of different stores ({stores})")
    held_id = next(iter(ids), "")
    silent = [name for name in regions if observed.leader(name) is None]
    if truth.epoch == 0:
        if silent:
            return BootstrapPlan(recorded_id, waiting=_waiting(silent, lacking))
        store_id = held_id or recorded_id or fresh_id
        return BootstrapPlan(store_id, _fresh(regions, observed), waiting=_unlisted_primary(regions, observed))
    if recorded_id and held_id and recorded_id != held_id:
        return BootstrapPlan(recorded_id, problem=f"the regions hold data of store {held_id}, this is {recorded_id}")
    store_id = recorded_id or held_id
    if not store_id:
        return BootstrapPlan("", waiting="waiting for a region that knows the store's id")
    fresh = _fresh(regions, observed)
    if truth.primary_region in fresh:
        return BootstrapPlan(
            store_id,
            tuple(name for name in fresh if name != truth.primary_region),
            problem=f"the primary region {truth.primary_region} has come back without its data",
        )
    return BootstrapPlan(store_id, fresh)


def _waiting(silent: list[str], lacking: Mapping[str, Lacking]) -> str:
    """Which regions have no leader yet, and what is wrong with their pods."""
    problems = "".join(f"; {lacking[name].text}" for name in silent if name in lacking)
    return f"waiting for a leader in {', '.join(silent)}{problems}"


def _unlisted_primary(regions: tuple[str, ...], observed: Observed) -> str:
    """Volumes of an earlier life may name a primary that the spec does not; whether it still serves cannot be known."""
    topologies = [replica.topology for replica in observed.replicas() if replica.topology is not None]
    absent = sorted({topology.primary_region for topology in topologies} - set(regions))
    if not absent:
        return ""
    names = ", ".join(absent)
    return f"the regions hold the data of a store whose primary is {names}; add {names} to spec.regions again"


def _fresh(regions: tuple[str, ...], observed: Observed) -> tuple[str, ...]:
    leaders = ((name, observed.leader(name)) for name in regions)
    return tuple(name for name, leader in leaders if leader is not None and not leader.store_id)
