"""Whether the names and the volumes that a store needs are its own to use, before anything of it is made.

A new store is made whole or not at all: while one of its names is somebody else's nothing is made. Of a store that
runs only what concerns the region with such a name waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rstore_api.domain import names

from rstore_operator.facts.observed import CLAIM, ChildKey, Observed
from rstore_operator.planning.children.ownership import wanted_names
from rstore_operator.resource.model import RegionSpec, StoreRef, StoreSpec

NAME_SHARED, NAME_TAKEN, FOREIGN_VOLUME = "NameShared", "NameTaken", "ForeignVolume"
_LISTED = 5
"""Objects that are named at most."""
NAMING_PROBLEMS = frozenset({NAME_SHARED, NAME_TAKEN, FOREIGN_VOLUME})


@dataclass(frozen=True)
class Naming:
    """``look_up`` are objects that must be asked for first, ``claims`` volumes that would be used and their
    regions, ``adopt`` orphans of this store. Nothing is created of the
    parts in ``held_back`` (regions, "" is the store's own), and regions in ``not_grown`` get no further pods.
    ``shared`` names are those that two objects of the store would have: neither is touched."""

    look_up: tuple[ChildKey, ...] = ()
    claims: Mapping[ChildKey, str] = field(default_factory=dict)
    adopt: tuple[ChildKey, ...] = ()
    held_back: frozenset[str] = frozenset()
    not_grown: frozenset[str] = frozenset()
    shared: frozenset[ChildKey] = frozenset()
    problems: tuple[tuple[str, str], ...] = ()


def name_objects(ref: StoreRef, spec: StoreSpec | None, observed: Observed) -> Naming:
    """Look at every name that is needed; without a spec, at those that every store has."""
    regions = spec.regions if spec is not None else ()
    clients = tuple(client.name for client in spec.access.clients) if spec is not None else ()
    archived = spec is not None and spec.backup is not None
    restored = spec is not None and spec.bootstrap is not None
    every = tuple(region.name for region in regions)
    wanted = wanted_names(ref.name, every, clients, archived=archived, restored=restored)
    parts = dict(wanted)
    count = Counter(key for key, _ in wanted)
    shared = frozenset(key for key, times in count.items() if times > 1)
    taken = {key for key in parts if key in observed.foreign}
    claims = {key: region.name for region in regions for key in _new_claims(ref, region, observed)}
    foreign_claims = {key for key in claims if key in observed.foreign}
    unknown = [key for key in (*parts, *claims) if _is_unknown(key, observed)]
    adopt = tuple(sorted(observed.orphans))
    is_new = not observed.live_regions() and not observed.regions
    obstacles = {
        *(parts[key] for key in (*shared, *taken)),
        *(claims[key] for key in foreign_claims),
    }
    waiting = obstacles | {(parts | claims)[key] for key in unknown}
    waiting |= {""} if adopt else set()
    everything = frozenset({"", *parts.values()})
    held_back = everything if waiting and (is_new or adopt) else frozenset(waiting)
    return Naming(
        look_up=tuple(unknown),
        claims=claims,
        adopt=adopt,
        held_back=held_back,
        not_grown=frozenset(claims[key] for key in claims if key in foreign_claims or key in unknown),
        shared=shared,
        problems=tuple(_problems(ref, observed, shared, taken, foreign_claims, is_new=is_new)),
    )


def _new_claims(ref: StoreRef, region: RegionSpec, observed: Observed) -> list[ChildKey]:
    """Claims that pods to be made would find; those of pods that run are in use."""
    live = observed.children.get(("StatefulSet", names.region_object(ref.name, region.name)), {})
    running = live.get("spec", {}).get("replicas")
    first = running if isinstance(running, int) else 0
    return [(CLAIM, names.claim(ref.name, region.name, ordinal)) for ordinal in range(first, region.replicas)]


def _is_unknown(key: ChildKey, observed: Observed) -> bool:
    views = (observed.children, observed.foreign, observed.orphans)
    return observed.free is not None and key not in observed.free and not any(key in one for one in views)


def _problems(
    ref: StoreRef,
    observed: Observed,
    shared: frozenset[ChildKey],
    taken: set[ChildKey],
    foreign_claims: set[ChildKey],
    *,
    is_new: bool,
) -> list[tuple[str, str]]:
    problems = []
    if shared:
        listed = _listed([f"{kind}/{name}" for kind, name in sorted(shared)])
        text = f"two objects of this store would have the same name, so neither is made: {listed}; rename the region"
        problems.append((NAME_SHARED, text))
    if taken:
        listed = _listed([f"{kind}/{name} {observed.foreign[kind, name]}" for kind, name in sorted(taken)])
        what = "the store" if any(not _names_part(ref, key) for key in taken) else "the region or client"
        end = ", nothing of the store is made before" if is_new else ""
        text = f"names that this store needs are taken: {listed}; choose another name for {what}, or remove these{end}"
        problems.append((NAME_TAKEN, text))
    if foreign_claims:
        listed = _listed([f"{name} {observed.foreign[kind, name]}" for kind, name in sorted(foreign_claims)])
        text = (
            f"volumes that this store would get are not its own: {listed}; they are left as they are, and "
            "the region has to wait: choose another name for it, or remove the claims if the data is not needed"
        )
        problems.append((FOREIGN_VOLUME, text))
    return problems


def _listed(items: list[str]) -> str:
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _names_part(ref: StoreRef, key: ChildKey) -> bool:
    return key not in {wanted for wanted, _ in wanted_names(ref.name, ())}
