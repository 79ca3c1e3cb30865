"""The ids in the headers of answers, as in etcd's; they are derived from names, so that nothing has to be stored."""

from __future__ import annotations

from hashlib import blake2b

from rstore_api.proto import rpc_pb2

from rstore_replica.api.ports import Group, Machine


def stable_id(name: str) -> int:
    """Returns a 64-bit id, never 0, the same for the same name everywhere and always; 0 for the empty name."""
    if not name:
        return 0
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") or 1


def member_id(store_id: str, region: str, replica: str) -> int:
    """Returns the id of a replica as a member, the same in every region; 0 where there is none."""
    return stable_id(f"{store_id}/{region}/{replica}") if replica else 0


class Identity:
    """This replica's names, and the header of its answers."""

    def __init__(self, *, region: str, replica: str, machine: Machine, group: Group) -> None:
        self.region = region
        self.replica = replica
        self._machine = machine
        self._group = group
        self._store_id = ""
        self._cluster_id = 0
        self._member_id = member_id("", region, replica)

    @property
    def member_id(self) -> int:
        """The id of this replica; another one before the region has a store id."""
        self._learn_store_id()
        return self._member_id

    @property
    def cluster_id(self) -> int:
        """The id of the store, equal in every region; 0 before the region has a store id."""
        self._learn_store_id()
        return self._cluster_id

    def id_of(self, replica: str | None) -> int:
        """Returns the id of a replica of this region; 0 for none."""
        self._learn_store_id()
        return member_id(self._store_id, self.region, replica or "")

    def _learn_store_id(self) -> None:
        store_id = self._machine.state.store_id
        if store_id != self._store_id:
            self._store_id, self._cluster_id = store_id, stable_id(store_id)
            self._member_id = member_id(store_id, self.region, self.replica)

    def fill(self, header: rpc_pb2.ResponseHeader, *, revision: int) -> None:
        """Completes a response's header."""
        self._learn_store_id()
        header.cluster_id = self._cluster_id
        header.member_id = self._member_id
        header.raft_term = self._group.term
        header.revision = revision
