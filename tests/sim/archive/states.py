"""PURE. What there was at each revision, as the revisions themselves make it: keys with all that etcd says of them, and
leases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rstore_api import rows
from rstore_api.domain.epochs import BASE_REVISION, EpochStart, parent_of
from sim.regions.ledger import Written


class Stored(NamedTuple):
    """A key that exists."""

    value: bytes
    created: int
    modified: int
    version: int


@dataclass(frozen=True)
class State:
    """What there is at a revision. ``leases`` are seconds to live by id."""

    keys: Mapping[bytes, Stored] = field(default_factory=dict)
    leases: Mapping[int, int] = field(default_factory=dict)

    def after(self, revision: int, written: Written) -> State:
        """Returns the state that a revision makes of this one."""
        keys, leases = dict(self.keys), dict(self.leases)
        for key, value in written.content:
            before = keys.pop(key, None)
            if value is not None:
                created, version = (before.created, before.version + 1) if before else (revision, 1)
                keys[key] = Stored(value, created, revision, version)
        for id_bytes, terms in written.leases:
            lease = int.from_bytes(id_bytes, "big", signed=True)
            leases.pop(lease, None)
            if terms is not None:
                leases[lease] = rows.LEASE_VALUE.unpack(terms)[0]
        return State(keys, leases)


def states_along(
    chain: Iterable[int], revisions: Mapping[int, Written], history: Iterable[EpochStart]
) -> dict[int, State]:
    """Returns the state at each revision of a chain, and right below the first one of each epoch of its history."""
    state = State()
    states = {BASE_REVISION: state}
    for revision in sorted(chain):
        state = states[revision] = state.after(revision, revisions[revision])
    for start in history:
        if parent_of(start) in states:
            states.setdefault(start.first_revision - 1, states[parent_of(start)])
    return states
