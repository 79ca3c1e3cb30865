"""The whole of replication in one replica, put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from rstore_api.proto import rstore_pb2 as pb
from rstore_api.proto import rstore_pb2_grpc as rpc

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.acknowledging import Acknowledging
from rstore_replica.replication.administration.regions import RegionController
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.ending.graceful_end import GracefulEnd
from rstore_replica.replication.features import Features
from rstore_replica.replication.ports import Connector, RaftGroup, Random, ReplicatedMachine
from rstore_replica.replication.receiving.receiver import Receiver
from rstore_replica.replication.semi_sync import SemiSync
from rstore_replica.replication.sending.connection import Dialer, GrpcConnector
from rstore_replica.replication.sending.progress import Progress, RegionProgress
from rstore_replica.replication.sending.sender import Sender, SenderParts
from rstore_replica.replication.tenure.grants import GrantLink, GrpcGrants, NoGrants
from rstore_replica.replication.tenure.keeper import TenureKeeper
from rstore_replica.replication.tenure.voter import Voter


class ReplicationServicer(rpc.ReplicationServicer):
    """The gRPC service ``rstore.v1.Replication``; only peers of this store may be let in to it."""

    def __init__(self, receiver: Receiver, voter: Voter) -> None:
        self._receiver = receiver
        self._voter = voter

    async def Grant(
        self,
        request: pb.GrantRequest,
        context: Any,  # noqa: ARG002 - gRPC's signature
    ) -> pb.GrantResponse:
        """See :meth:`Voter.grant`."""
        return await self._voter.grant(request)

    async def Stream(
        self,
        request_iterator: AsyncIterator[pb.StreamRequest],
        context: Any,  # noqa: ARG002 - gRPC's signature
    ) -> AsyncGenerator[pb.StreamResponse, None]:
        """See :meth:`Receiver.serve`."""
        responses = self._receiver.serve(aiter(request_iterator))
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()


class Replication:
    """Sender, receiver and controller over one machine and one group. Start it after the group.

    ``servicer`` goes on the peer port, ``controller`` is what Admin calls and what the batcher asks for its write
    gate, ``acknowledging`` decides when clients get their answers, ``ending`` is what the replica waits for before it
    stops; ``connector`` and ``grants`` replace gRPC in tests and in the simulator.
    """

    def __init__(
        self,
        *,
        machine: ReplicatedMachine,
        group: RaftGroup,
        clock: Clock,
        config: ReplicationConfig,
        rng: Random,
        features: Features,
        dialer: Dialer | None = None,
        connector: Connector | None = None,
        grants: GrantLink | None = None,
    ) -> None:
        if (dialer is None) == (connector is None):
            raise ValueError("either a dialer or a connector is required")
        if connector is None and dialer is not None:
            connector = GrpcConnector(dialer, clock=clock, connect_seconds=config.connect_seconds)
        assert connector is not None
        if grants is None:
            grants = NoGrants() if dialer is None else GrpcGrants(dialer, clock=clock)
        self._clock = clock
        self._progress = Progress()
        self.receiver = Receiver(machine=machine, group=group, clock=clock, config=config)
        self.voter = Voter(machine=machine, group=group, clock=clock, config=config, features=features)
        self.tenure = TenureKeeper(
            machine=machine,
            group=group,
            clock=clock,
            config=config,
            voter=self.voter,
            link=grants,
            features=features,
        )
        self.acknowledging = Acknowledging(
            machine=machine,
            group=group,
            clock=clock,
            region=config.region,
            semi_sync=SemiSync(),
            tenure=self.tenure,
            progress=self._progress,
        )
        self.servicer = ReplicationServicer(self.receiver, self.voter)
        self.sender = Sender(
            SenderParts(
                machine=machine,
                group=group,
                connector=connector,
                clock=clock,
                config=config,
                rng=rng,
                progress=self._progress,
            )
        )
        self.controller = RegionController(
            machine=machine,
            group=group,
            clock=clock,
            config=config,
            progress=self._progress,
            on_role_change=self.sender.review,
            transfers=self.sender.transfers,
            tenure=self.tenure,
            voter=self.voter,
            acknowledging=self.acknowledging,
        )
        self.ending = GracefulEnd(
            machine=machine,
            group=group,
            clock=clock,
            region=config.region,
            progress=self._progress,
            gate=self.controller.write_gate,
            bounds=config.ending,
        )

    def add_to_server(self, server: Any) -> None:
        """Registers the Replication service with a ``grpc.aio`` server."""
        rpc.add_ReplicationServicer_to_server(self.servicer, server)  # type: ignore[no-untyped-call]

    async def start(self) -> None:
        """Begins to stream as soon as this replica leads the source region."""
        await self.acknowledging.start()
        await self.sender.start()
        await self.tenure.start()
        await self.ending.start()

    async def stop(self) -> None:
        """Ends every stream, outgoing and incoming; what was taken from a source is proposed to its end first."""
        await self.ending.stop()
        await self.sender.stop()
        await self.tenure.stop()
        await self.acknowledging.stop()
        await self.receiver.stop()

    def progress(self) -> tuple[RegionProgress, ...]:
        """Returns how far each other region is; empty unless this replica leads the source region."""
        return self._progress.snapshot(self._clock.monotonic())
