"""Questions for a grant over gRPC share a channel, and none of them ends another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from rstore_api.proto import rstore_pb2 as pb
from rstore_api.proto import rstore_pb2_grpc as rpc
from rstore_replica.raft.clock import SystemClock
from rstore_replica.replication.lease.grants import GrpcGrants
from rstore_replica.replication.ports import LinkBrokenError
from unit.replication.replication_fakes import eventually
from unit.replication.replication_real import Wires


class Granting(rpc.ReplicationServicer):
    """Answers a question when it is told to, by its epoch."""

    def __init__(self) -> None:
        self.asked: dict[int, asyncio.Future[bool]] = {}

    async def Grant(self, request: pb.GrantRequest, context: grpc.aio.ServicerContext) -> pb.GrantResponse:
        future = self.asked[request.epoch] = asyncio.get_running_loop().create_future()
        if not await future:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return pb.GrantResponse(promised_epoch=request.epoch)


@pytest.fixture
async def granting() -> AsyncIterator[tuple[Granting, str]]:
    server, servicer = grpc.aio.server(), Granting()
    rpc.add_ReplicationServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(0)


class SlowWires(Wires):
    """All dial at once, and are connected one after the other."""

    async def dial(self, address: str) -> grpc.aio.Channel:
        await asyncio.sleep(0.02 * len(self.channels))
        channel = await super().dial(address)
        await asyncio.sleep(0.02)
        return channel


@pytest.mark.parametrize("wires", [Wires(), SlowWires()])
async def test_a_question_that_fails_leaves_those_beside_it_alone(granting: tuple[Granting, str], wires: Wires) -> None:
    servicer, address = granting
    grants = GrpcGrants(wires, clock=SystemClock())
    asking = {
        epoch: asyncio.create_task(grants.ask(address, pb.GrantRequest(epoch=epoch), timeout_seconds=10))
        for epoch in (1, 2, 3)
    }
    await eventually(lambda: len(servicer.asked) == 3)
    servicer.asked[1].set_result(False)
    with pytest.raises(LinkBrokenError, match="not now"):
        await asking[1]
    await grants.keep_only(())
    for epoch in (2, 3):
        servicer.asked[epoch].set_result(True)
        assert (await asking[epoch]).promised_epoch == epoch
    await grants.keep_only(())
    assert [channel.get_state() for channel in wires.channels] == [grpc.ChannelConnectivity.SHUTDOWN] * len(
        wires.channels
    )


async def test_one_channel_serves_many_questions_and_after_a_failure_there_is_another(
    granting: tuple[Granting, str],
) -> None:
    servicer, address = granting
    wires = Wires()
    grants = GrpcGrants(wires, clock=SystemClock())
    for epoch, answer in ((1, True), (2, True), (3, False), (4, True)):
        task = asyncio.create_task(grants.ask(address, pb.GrantRequest(epoch=epoch), timeout_seconds=10))
        await eventually(lambda epoch=epoch: epoch in servicer.asked)
        servicer.asked[epoch].set_result(answer)
        await asyncio.wait([task])
        assert (task.exception() is None) is answer
    assert len(wires.channels) == 2
    with pytest.raises(LinkBrokenError, match="longer than"):
        await grants.ask(address, pb.GrantRequest(epoch=5), timeout_seconds=0.05)
    await grants.keep_only(())


async def test_a_channel_is_given_up_only_after_as_many_late_answers_as_a_lease_has_rounds(
    granting: tuple[Granting, str],
) -> None:
    """Connecting may take longer than one question has, and must not begin anew with each."""
    _, address = granting
    wires = Wires()
    grants = GrpcGrants(wires, clock=SystemClock())
    for question, channels in ((1, 1), (2, 1), (3, 1), (4, 2)):
        with pytest.raises(LinkBrokenError, match="longer than"):
            await grants.ask(address, pb.GrantRequest(epoch=question), timeout_seconds=0.05)
        assert len(wires.channels) == channels
    await grants.keep_only(())
