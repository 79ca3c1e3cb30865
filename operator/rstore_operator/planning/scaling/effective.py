"""What of the spec can be run now: replicas come and go one by one, the primary is never removed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rstore_api.domain import names
from rstore_api.domain.topology import RegionTopology

from rstore_operator.facts.observed import Observed
from rstore_operator.planning.moving import replicas_amid_move
from rstore_operator.planning.scaling.beginning import has_not_begun
from rstore_operator.planning.scaling.steps import Scaling, plan_scaling
from rstore_operator.planning.scaling.topology import held_regions
from rstore_operator.resource.model import RegionSpec, StoreSpec
from rstore_operator.resource.state import PLANNED, StoreStatus


@dataclass(frozen=True)
class Effective:
    """What can be run. ``spec`` is the spec of that; ``retained`` regions are not in the spec any more but cannot go
    yet; ``leaving`` go."""

    spec: StoreSpec
    retained: tuple[RegionTopology, ...] = ()
    leaving: frozenset[str] = frozenset()
    replica_changes: tuple[str, ...] = ()
    scaling: tuple[tuple[str, Scaling], ...] = ()
    """Regions that have not got as many replicas as they should have, and the next step there."""
    removal_waits: tuple[str, ...] = ()

    @property
    def region_names(self) -> tuple[str, ...]:
        """Regions that belong to the store now."""
        return (*self.spec.region_names, *(region.name for region in self.retained))


def running_replicas(region: str, observed: Observed, status: StoreStatus, store: str) -> int | None:
    """How many pods of a region were decided to run last; None when it has not been created.

    The live ``spec.replicas`` may have been scaled by somebody, so it is asked last.
    """
    running = any(not pod.terminating for pod in observed.region(region).pods)
    if region not in observed.live_regions() and not running:
        return None
    recorded = status.region(region)
    if recorded is not None and recorded.replicas:
        return recorded.replicas
    in_regions = held_regions(observed).get(region)
    if in_regions is not None and in_regions.replicas:
        return len(in_regions.replicas)
    live = observed.children.get(("StatefulSet", f"{store}-{region}"), {})
    count = live.get("spec", {}).get("replicas")
    return count if isinstance(count, int) else None


def effective(
    spec: StoreSpec,
    store: str,
    observed: Observed,
    status: StoreStatus,
    primary: str,
    *,
    created_at: str = "",
) -> Effective:
    """Join the spec with what runs; ``primary`` is the present primary region, or "" before the store is created.
    ``created_at`` is when its object was made, where that is known."""
    is_created = bool(primary or status.store_id)
    regions: list[RegionSpec] = []
    changes: list[str] = []
    scaling: list[tuple[str, Scaling]] = []
    for region in spec.regions:
        running = running_replicas(region.name, observed, status, store)
        if running is not None:
            wanted = replicas_amid_move(store, region, running, observed)
            seen = observed.region(region.name)
            begins = not is_created and has_not_begun(store, region.name, running, observed, created_at)
            step = plan_scaling(names.region_object(store, region.name), wanted, running, seen, begins=begins)
            if step.message:
                amid = f"{wanted} replicas run while volumes are replaced, " if wanted != region.replicas else ""
                changes.append(f"{region.name}: {amid}{step.message}")
                scaling.append((region.name, step))
            region = replace(region, replicas=step.pods)
        regions.append(region)
    intent = status.failover
    needed = {primary} | ({intent.from_region, intent.to_region} if intent else set())
    in_regions = held_regions(observed)
    removed = sorted((observed.live_regions() | set(in_regions)) - set(spec.region_names))
    if intent is not None and intent.mode != PLANNED:  # a region that was to go may be the one that has most data
        needed |= observed.live_regions()
    retained = tuple(in_regions[name] for name in removed if name in needed and name in in_regions)
    waits = tuple(
        f"{name} is primary, and leaves once {spec.primary_region}, which spec.primaryRegion names, is"
        for name in removed
        if name == primary
    )
    return Effective(
        spec=replace(spec, regions=tuple(regions)),
        retained=retained,
        leaving=frozenset(removed) - needed,
        replica_changes=tuple(changes),
        scaling=tuple(scaling),
        removal_waits=waits,
    )
