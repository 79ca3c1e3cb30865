"""Questions for a grant over gRPC share a channel, and none of them ends another's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import grpc
import grpc.aio
import pytest
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.proto import rstore_pb2 as pb
from rstore_api.proto import rstore_pb2_grpc as rpc
from rstore_replica.raft.clock import SystemClock
from rstore_replica.replication.tenure.grants import MAX_CHANNELS, GrpcGrants
from unit.replication.fakes.regions import eventually
from unit.replication.real_regions import Wires


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


async def test_channels_that_do_not_answer_are_few_and_the_oldest_goes(granting: tuple[Granting, str]) -> None:
    """Connecting may take longer than one question has, and must not begin anew with each."""
    _, address = granting
    wires = Wires()
    grants = GrpcGrants(wires, clock=SystemClock())
    for question in range(1, 2 * MAX_CHANNELS):
        with pytest.raises(LinkBrokenError, match="longer than"):
            await grants.ask(address, pb.GrantRequest(epoch=question), timeout_seconds=0.1)
        closed = [channel for channel in wires.channels if channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN]
        assert 1 <= len(wires.channels) - len(closed) <= MAX_CHANNELS
        assert wires.channels[: len(closed)] == closed
    await grants.keep_only(())


class Willing(Granting):
    """Grants at once."""

    async def Grant(self, request: pb.GrantRequest, context: grpc.aio.ServicerContext) -> pb.GrantResponse:
        del context
        return pb.GrantResponse(promised_epoch=request.epoch)


class Moving:
    """A name that leads to where nobody answers, and later to a live replica: its pod was replaced without a word."""

    def __init__(self, black_hole: str, live: str) -> None:
        self.places = [black_hole, live]
        self.channels: list[grpc.aio.Channel] = []
        self.moved = False
        self.dialled: list[str] = []

    async def dial(self, address: str) -> grpc.aio.Channel:
        del address
        place = self.places[self.moved]
        self.dialled.append(place)
        self.channels.append(grpc.aio.insecure_channel(place, options=[("grpc.use_local_subchannel_pool", 1)]))
        return self.channels[-1]


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address that takes connections, as a kernel does, and never says anything."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
async def willing() -> AsyncIterator[str]:
    server = grpc.aio.server()
    rpc.add_ReplicationServicer_to_server(Willing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def test_a_name_that_leads_elsewhere_by_now_is_dialled_anew_within_the_same_question(
    black_hole: str, willing: str
) -> None:
    """The first dial goes to where the pod was. A question has a third of a tenure, and is answered in it."""
    names = Moving(black_hole, willing)
    grants = GrpcGrants(names, clock=SystemClock())
    asking = asyncio.create_task(grants.ask("eu-west-0:2380", pb.GrantRequest(epoch=7), timeout_seconds=2))
    await eventually(lambda: names.dialled == [black_hole])
    names.moved = True
    assert (await asking).promised_epoch == 7
    assert names.dialled == [black_hole, willing]
    assert (await grants.ask("eu-west-0:2380", pb.GrantRequest(epoch=8), timeout_seconds=2)).promised_epoch == 8
    assert len(names.dialled) == 2, "the one that answered stays"
    await eventually(lambda: names.channels[0].get_state() is grpc.ChannelConnectivity.SHUTDOWN)
    await grants.keep_only(())


class Mute(Wires):
    """Channels whose other end can be silenced without a word, as by the loss of a node."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay

    async def dial(self, address: str) -> grpc.aio.Channel:
        del address
        return await super().dial(self._relay.address)


class Relay:
    """Passes bytes on to a server; connections made until now can be made to carry nothing any more."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._generation = self.silenced = 0
        self.address = ""

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def silence(self) -> None:
        """What is connected now stays connected, and says nothing more."""
        self._generation += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation = self._generation
        far_reader, far_writer = await asyncio.open_connection(*self._target)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                if generation < self._generation:
                    self.silenced += 1
                    continue
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)


async def test_a_connection_whose_other_end_is_gone_without_a_word_costs_no_question(willing: str) -> None:
    async with Relay(willing) as relay:
        wires = Mute(relay)
        grants = GrpcGrants(wires, clock=SystemClock())
        for epoch in (1, 2):
            await grants.ask("eu-west-0:2380", pb.GrantRequest(epoch=epoch), timeout_seconds=2)
        assert len(wires.channels) == 1
        relay.silence()
        assert (await grants.ask("eu-west-0:2380", pb.GrantRequest(epoch=3), timeout_seconds=2)).promised_epoch == 3
        assert relay.silenced, "the old connection was not asked at all"
        assert len(wires.channels) == 2
        await grants.keep_only(())
