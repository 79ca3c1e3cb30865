"""How replicas reach each other, as the group sees it. The gRPC one is in :mod:`.grpc_transport`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.types import Member

OnMessage = Callable[[str, pb.RaftEnvelope], None]
OnLink = Callable[[str, bool, bool], None]
"""Peer, whether it can be reached now, and whether its process is another one than before."""


class Transport(Protocol):
    """Links to the other replicas. Messages on a link arrive in order or not at all; callbacks come on the event loop.

    A transport delivers only what a replica of this group sent to this very process: it checks the sender's
    name and the sessions of both ends.
    """

    @property
    def refusal(self) -> str:
        """Why another replica refuses this one at present; "" when none does."""

    def add_to_server(self, server: Any) -> None:
        """Registers the service by which others dial this one, if there is one, on a server that has not started."""

    async def start(self, on_message: OnMessage, on_link: OnLink) -> None:
        """Begins to accept and to dial. Returns without waiting for anybody."""

    async def stop(self) -> None:
        """Closes every link and forgets the callbacks."""

    def update_members(self, members: tuple[Member, ...], removed: frozenset[str]) -> None:
        """Keeps links to these from now on, and refuses those that were ``removed``; others may dial."""

    def send(self, peer: str, envelope: pb.RaftEnvelope) -> bool:
        """Queues the message; False when it cannot be (no link, or the bounded queue is full): it is lost then."""
