"""This region's replicas as the Raft group has them at the moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rstore_api.dialling.channels import Address
from rstore_api.domain.topology import ReplicaAddress

from rstore_replica.raft.types import GroupStatus, Member


class OwnReplicas(Mapping[str, ReplicaAddress]):
    """By name, learners with them; each is on the same host for clients as for peers."""

    def __init__(self, status: Callable[[], GroupStatus], client_port: int) -> None:
        self._status = status
        self._client_port = client_port
        self._members: tuple[Member, ...] = ()
        self._locations: dict[str, ReplicaAddress] = {}

    @property
    def learners(self) -> tuple[str, ...]:
        """The names of those that do not vote yet."""
        return self._status().learners

    def _now(self) -> dict[str, ReplicaAddress]:
        members = self._status().members
        if members != self._members:
            self._members = members
            self._locations = {member.name: self._location(member) for member in members}
        return self._locations

    def _location(self, member: Member) -> ReplicaAddress:
        client_address = str(Address(Address.parse(member.address).host, self._client_port))
        return ReplicaAddress(name=member.name, peer_address=member.address, client_address=client_address)

    def __getitem__(self, name: str) -> ReplicaAddress:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())
