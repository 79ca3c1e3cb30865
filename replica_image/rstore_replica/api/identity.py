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


class Identity:
    """This replica's names, and the header of its answers."""

    def __init__(self, *, region: str, replica: str, machine: Machine, group: Group) -> None:
        self.region = region
        self.replica = replica
        self.member_id = stable_id(replica)
        self._machine = machine
        self._group = group
        self._store_id = ""
        self._cluster_id = 0

    @property
    def cluster_id(self) -> int:
        """The id of the store, equal in every region; 0 before the region has a store id."""
        store_id = self._machine.state.store_id
        if store_id != self._store_id:
            self._store_id, self._cluster_id = store_id, stable_id(store_id)
        return self._cluster_id

    def fill(self, header: rpc_pb2.ResponseHeader, *, revision: int) -> None:
        """Completes a response's header."""
        header.cluster_id = self.cluster_id
        header.member_id = self.member_id
        header.raft_term = self._group.term
        header.revision = revision
