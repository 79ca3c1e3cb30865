"""Groups over real gRPC on loopback: proposals, reads, restarts, leadership, checkpoints, strangers."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from rstore_api import errors
from rstore_api.proto import raft_pb2 as pb
from rstore_api.proto import raft_pb2_grpc as pb_grpc
from rstore_replica.raft import RaftError, Role
from unit.raft.cluster import FAST, Cluster, eventually


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(tmp_path, 3)
    await cluster.start()
    yield cluster
    await cluster.stop()
    assert cluster.failures == {}


def all_have(cluster: Cluster, values: list[bytes]) -> bool:
    return all(cluster.machines[name].values == values for name in cluster.groups)


async def test_a_group_of_one_leads_at_once_and_keeps_its_log(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    await cluster.start()
    await eventually(lambda: cluster.leader() == "n0", "leadership", seconds=1)
    result = await cluster.groups["n0"].propose(b"a", timeout_seconds=5)
    assert result == (3, 1, b"a")
    await cluster.groups["n0"].barrier(timeout_seconds=5)
    assert await cluster.groups["n0"].transfer_leadership(None, timeout_seconds=1) == "n0"
    await cluster.stop()
    await cluster.start()
    await eventually(lambda: cluster.machines["n0"].values == [b"a"], "the entry after a restart")
    await cluster.stop()
    assert cluster.failures == {}


async def test_what_is_proposed_reaches_all_in_order_and_the_result_comes_back(three: Cluster) -> None:
    leader = three.groups[await three.wait_leader()]
    values = [b"%d" % number for number in range(100)]
    results = await asyncio.gather(*(leader.propose(value, timeout_seconds=10) for value in values))
    assert [entry for _, _, entry in results] == values  # type: ignore[misc]
    await eventually(lambda: all_have(three, values), "all entries everywhere")
    status = leader.status()
    assert (status.role, status.leader, status.members) == (Role.LEADER, status.name, three.members)
    assert status.leader_since is not None


async def test_an_entry_of_two_mebibytes_is_committed_and_a_larger_one_refused(three: Cluster) -> None:
    leader = three.groups[await three.wait_leader()]
    large = bytes(2 << 20)
    await leader.propose(large, timeout_seconds=10)
    await eventually(lambda: all_have(three, [large]), "the large entry everywhere")
    with pytest.raises(errors.RequestTooLarge):
        await leader.propose(bytes(FAST.max_entry_bytes + 1), timeout_seconds=10)


async def test_a_follower_names_the_leader(three: Cluster) -> None:
    leader = await three.wait_leader()
    addresses = {member.name: member.address for member in three.members}
    follower = next(name for name in three.groups if name != leader)
    for call in (
        three.groups[follower].propose(b"x", timeout_seconds=1),
        three.groups[follower].barrier(timeout_seconds=1),
    ):
        with pytest.raises(errors.NotLeader) as caught:
            await call
        assert caught.value.leader == addresses[leader]


async def test_another_leads_after_the_leader_is_gone_and_it_catches_up_when_it_is_back(three: Cluster) -> None:
    old = await three.wait_leader()
    await three.groups[old].propose(b"before", timeout_seconds=5)
    await three.stop(old)
    new = await three.wait_leader(other_than=old)
    await three.groups[new].propose(b"between", timeout_seconds=5)
    await three.start(old)
    await eventually(lambda: all_have(three, [b"before", b"between"]), "the old leader has caught up")
    assert three.groups[old].status().term == three.groups[new].status().term


async def test_without_a_majority_nothing_is_acknowledged_and_the_leader_steps_down(three: Cluster) -> None:
    leader = await three.wait_leader()
    await three.stop(*(name for name in tuple(three.groups) if name != leader))
    group = three.groups[leader]
    with pytest.raises(errors.OutcomeUnknown):
        await group.propose(b"lost?", timeout_seconds=0.2)
    with pytest.raises((errors.DeadlineExceeded, errors.NoLeader)):
        await group.barrier(timeout_seconds=0.2)
    await eventually(lambda: group.status().role is not Role.LEADER, "it steps down")
    with pytest.raises(errors.NoLeader):
        await group.propose(b"no", timeout_seconds=1)


async def test_everything_is_there_after_all_were_stopped(three: Cluster) -> None:
    leader = three.groups[await three.wait_leader()]
    values = [b"%d" % number for number in range(20)]
    for value in values:
        await leader.propose(value, timeout_seconds=5)
    await three.stop()
    await three.start()
    leader = three.groups[await three.wait_leader()]
    await leader.propose(b"after", timeout_seconds=5)
    await eventually(lambda: all_have(three, [*values, b"after"]), "all entries everywhere")


async def test_a_machine_that_kept_its_state_gets_nothing_twice(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    await cluster.start()
    await eventually(lambda: cluster.leader() == "n0", "leadership")
    for value in (b"a", b"b", b"c"):
        await cluster.groups["n0"].propose(value, timeout_seconds=5)
    cluster.machines["n0"].keep()
    await cluster.stop()
    await cluster.start()
    applied: list[int] = []
    inner = cluster.machines["n0"].apply
    cluster.machines["n0"].apply = lambda index, term, entry: (applied.append(index), inner(index, term, entry))[1]  # type: ignore[method-assign]
    await eventually(lambda: cluster.leader() == "n0", "leadership")
    await cluster.groups["n0"].propose(b"d", timeout_seconds=5)
    await cluster.stop()
    assert len(applied) == 1
    assert cluster.machines["n0"].values == [b"a", b"b", b"c", b"d"]


async def test_barriers_that_wait_together_share_one_question(three: Cluster) -> None:
    leader = three.groups[await three.wait_leader()]
    await leader.propose(b"x", timeout_seconds=5)
    before = leader._core.begin_round()
    await asyncio.gather(*(leader.barrier(timeout_seconds=5) for _ in range(200)))
    assert leader._core.begin_round() - before <= 4


async def test_leadership_is_handed_to_the_target(three: Cluster) -> None:
    old = await three.wait_leader()
    target = next(name for name in three.groups if name != old)
    await asyncio.gather(*(three.groups[old].propose(b"x", timeout_seconds=5) for _ in range(50)))
    assert await three.groups[old].transfer_leadership(target, timeout_seconds=5) == target
    await eventually(lambda: three.leader() == target, "the target leads")
    await three.groups[target].propose(b"y", timeout_seconds=5)
    with pytest.raises(errors.InvalidRequest):
        await three.groups[target].transfer_leadership("nobody", timeout_seconds=1)


async def test_a_hand_over_to_a_replica_that_is_down_fails_and_the_leader_goes_on(three: Cluster) -> None:
    leader = await three.wait_leader()
    down = next(name for name in three.groups if name != leader)
    await three.stop(down)
    with pytest.raises(errors.DeadlineExceeded):
        await three.groups[leader].transfer_leadership(down, timeout_seconds=0.3)
    await three.groups[leader].propose(b"still here", timeout_seconds=5)


async def test_too_many_proposals_are_refused_before_anything_happens(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1, replace(FAST, max_inflight_proposals=10))
    await cluster.start()
    await eventually(lambda: cluster.leader() == "n0", "leadership")
    group = cluster.groups["n0"]
    results = await asyncio.gather(*(group.propose(b"x", timeout_seconds=5) for _ in range(30)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, errors.TooManyRequests)]
    assert len(refused) == 20
    assert len(cluster.machines["n0"].values) == 10
    await cluster.stop()


SMALL_LOG = replace(FAST, checkpoint_entries=40, trailing_entries=10, segment_bytes=4096, checkpoint_chunk_bytes=1000)


async def test_a_replica_that_was_away_too_long_or_is_empty_gets_a_checkpoint(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, SMALL_LOG)
    await cluster.start()
    leader = await cluster.wait_leader()
    away = next(name for name in cluster.groups if name != leader)
    values = [b"%d" % number * 20 for number in range(300)]
    for value in values[:5]:
        await cluster.groups[leader].propose(value, timeout_seconds=5)
    await cluster.stop(away)
    for value in values[5:]:
        await cluster.groups[leader].propose(value, timeout_seconds=5)
    await eventually(lambda: cluster.groups[leader]._journal.first_index > 50, "the log's beginning is gone")
    await cluster.start(away)
    await eventually(lambda: all_have(cluster, values), "the replica that was away has everything")
    assert cluster.machines[away].restored == 1
    await cluster.stop(away)
    # The machine's own state is gone: the checkpoint that was installed and the log after it must bring it back.
    await cluster.start(away)
    await eventually(lambda: all_have(cluster, values), "the replica that lost its machine has everything")
    await cluster.groups[await cluster.wait_leader()].propose(b"more", timeout_seconds=5)
    await eventually(lambda: all_have(cluster, [*values, b"more"]), "everyone goes on")
    await cluster.stop()
    assert cluster.failures == {}


async def test_a_damaged_checkpoint_that_is_needed_stops_the_replica_with_its_name(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1, SMALL_LOG)
    await cluster.start()
    await eventually(lambda: cluster.leader() == "n0", "leadership")
    for number in range(100):
        await cluster.groups["n0"].propose(b"%d" % number, timeout_seconds=5)
    await cluster.stop()
    (data,) = (tmp_path / "n0" / "checkpoints").glob("*/data/list.json")
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with pytest.raises(RaftError, match=r"checkpoint is damaged in list\.json"):
        await cluster.start()
    await cluster.servers.pop("n0").stop(None)


async def test_a_lost_journal_under_a_machine_that_is_not_empty_is_reported(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    await cluster.start()
    await eventually(lambda: cluster.leader() == "n0", "leadership")
    await cluster.groups["n0"].propose(b"x", timeout_seconds=5)
    cluster.machines["n0"].keep()
    await cluster.stop()
    for file in (tmp_path / "n0" / "journal").iterdir():
        file.unlink()
    with pytest.raises(RaftError, match="the journal was lost"):
        await cluster.start()
    await cluster.servers.pop("n0").stop(None)


async def test_a_bug_in_apply_stops_the_replica_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    await cluster.start()
    await eventually(lambda: cluster.leader() == "n0", "leadership")

    def broken(index: int, term: int, entry: bytes) -> object:
        raise ZeroDivisionError(f"{index} {term} {entry!r}")

    cluster.machines["n0"].apply = broken  # type: ignore[method-assign]
    with pytest.raises(errors.OutcomeUnknown):
        await cluster.groups["n0"].propose(b"x", timeout_seconds=5)
    assert isinstance(cluster.failures["n0"], ZeroDivisionError)
    with pytest.raises(errors.ShuttingDown):
        await cluster.groups["n0"].propose(b"y", timeout_seconds=5)
    await cluster.stop()


async def test_rubbish_and_pickles_on_the_port_change_nothing(three: Cluster, tmp_path: Path) -> None:
    leader = await three.wait_leader()
    marker = tmp_path / "unpickled"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (marker,)  # type: ignore[return-value]

    bomb = pickle.dumps(Bomb())
    host, port = three.members[0].address.rsplit(":", 1)
    for payload in (bomb, b"\x00" * 4096, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bomb):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(payload)
        writer.close()
    async with grpc.aio.insecure_channel(three.members[0].address) as channel:
        raw = channel.stream_stream("/rstore.v1.Raft/Connect")
        call = raw(iter([bomb]))
        with pytest.raises(grpc.RpcError):
            async for _ in call:
                pass
    await three.groups[leader].propose(bomb, timeout_seconds=5)
    await eventually(lambda: all_have(three, [bomb]), "the pickle is only bytes")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (pb.RaftHello(group="test/one", name="n0", session=1), "not a member"),
        (pb.RaftHello(group="test/two", name="n1", session=1), "not 'test/two'"),
        (pb.RaftHello(group="test/one", name="n1"), "session"),
    ],
)
async def test_a_caller_that_is_not_of_the_group_is_refused(three: Cluster, hello: pb.RaftHello, reason: str) -> None:
    await three.wait_leader()
    async with grpc.aio.insecure_channel(three.members[0].address) as channel:
        stub = pb_grpc.RaftStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Connect(iter([pb.RaftFrame(hello=hello)]))
        with pytest.raises(grpc.RpcError, match=reason):
            async for _ in call:
                pass


async def test_a_message_for_an_earlier_process_is_dropped(three: Cluster) -> None:
    leader = await three.wait_leader()
    other = next(name for name in three.groups if name != leader)
    transport = three.transports[other]
    link = transport._links[leader][0]
    envelope = pb.RaftEnvelope(term=10**6, append_reply=pb.RaftAppendReply(next_index=1))
    envelope.from_session, envelope.to_session = transport._session, link.session + 1
    assert link.put(envelope)
    await three.groups[leader].propose(b"x", timeout_seconds=5)
    await eventually(lambda: all_have(three, [b"x"]), "the entry everywhere")
    assert three.groups[leader].status().term < 10**6
