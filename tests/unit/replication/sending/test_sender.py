"""The stream between regions, over a network in memory."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api import errors
from rstore_api.proto import rpc_pb2
from rstore_api.proto import rstore_pb2 as pb
from unit.replication.fakes.network import FastClock, LongestPauses
from unit.replication.fakes.regions import STORE, bootstrap, converged, eventually, topology


@pytest.fixture
async def three(make_region):
    regions = [make_region(name) for name in ("east", "north", "west")]
    await bootstrap(regions, "east")
    for region in regions:
        await region.replication.start()
    return regions


async def test_rows_reach_every_other_region(three):
    east, _, _ = three
    for number in range(20):
        await east.write(b"%d" % number)
    await eventually(lambda: converged(three))
    assert three[1].machine.revision == 21


async def test_only_the_primary_region_streams(three):
    east, north, west = three
    await eventually(lambda: east.replication.sender.targets == ("north", "west"))
    assert north.replication.sender.targets == west.replication.sender.targets == ()


async def test_acknowledged_means_committed_in_the_other_region(three):
    east, north, _ = three
    await eventually(lambda: "north" in east.progress and east.progress["north"].connected)
    north.group.commit_seconds = 0.2
    await east.write(b"value")
    await eventually(lambda: north.group.in_flight == 1)
    assert east.progress["north"].acked_revision == 1
    assert north.machine.revision == 1
    await eventually(lambda: east.progress["north"].acked_revision == 2)
    assert north.machine.revision == 2


async def test_a_broken_stream_resumes_where_the_other_region_stands(three, network):
    east, *_ = three
    for round_number in range(5):
        for number in range(10):
            await east.write(b"%d-%d" % (round_number, number))
        network.break_all()
    await eventually(lambda: converged(three))


async def test_a_region_that_was_down_catches_up(three, network):
    east, north, west = three
    network.down.add(north.addresses[0])
    network.break_all()
    for number in range(50):
        await east.write(b"%d" % number)
    await eventually(lambda: converged([east, west]))
    assert north.machine.revision < 51
    lag = east.progress["north"]
    assert (lag.connected, lag.lag_revisions) == (False, 51 - north.machine.revision)
    assert "refused" in lag.last_error
    network.down.clear()
    await eventually(lambda: converged(three))


async def test_batches_are_pipelined_up_to_the_window(make_region, network):
    network.delay_seconds = 0.05  # 0.1 s there and back
    east = make_region("east", max_batch_bytes=1000, window_bytes=16_000)
    west = make_region("west", max_batch_bytes=1000, window_bytes=16_000)
    await bootstrap([east, west], "east")
    west.group.commit_seconds = 0.02
    for _ in range(64):
        await east.write(*[b"x" * 100] * 10)  # one batch each
    started = asyncio.get_running_loop().time()
    await east.replication.start()
    await eventually(lambda: converged([east, west]), seconds=20)
    seconds = asyncio.get_running_loop().time() - started
    # One batch per round trip would take 64 × 0.12 s; 16 in the window take 4 round trips after the handshake.
    assert seconds < 64 * 0.12 / 4
    assert 8 <= west.group.most_in_flight <= 16


async def test_the_window_holds_the_sender_back(make_region):
    east = make_region("east", max_batch_bytes=1000, window_bytes=3000)
    west = make_region("west", max_batch_bytes=1000, window_bytes=3000)
    await bootstrap([east, west], "east")
    west.group.commit_seconds = 0.05
    await east.write(*[b"x" * 100] * 200)
    await east.replication.start()
    await eventually(lambda: converged([east, west]))
    assert 2 <= west.group.most_in_flight <= 4


async def test_rows_of_one_interval_share_a_batch(make_region):
    east = make_region("east", batch_interval_seconds=0.2)
    west = make_region("west")
    await bootstrap([east, west], "east")
    await east.replication.start()
    await eventually(lambda: "west" in east.progress and east.progress["west"].connected)
    await eventually(lambda: west.machine.state.epoch == 1)
    before = west.group.proposals
    for number in range(10):
        await east.write(b"%d" % number)
    await eventually(lambda: converged([east, west]))
    assert west.group.proposals - before == 1


async def test_a_full_batch_does_not_wait_for_the_interval(make_region):
    east = make_region("east", batch_interval_seconds=10.0, max_batch_bytes=1000, silence_seconds=60.0)
    west = make_region("west")
    await bootstrap([east, west], "east")
    await east.write(b"first")
    await east.replication.start()
    await eventually(lambda: "west" in east.progress and east.progress["west"].connected)
    reads = east.machine.reads
    for _ in range(30):
        await east.write(b"x" * 100)
        await asyncio.sleep(0)
    await eventually(lambda: west.machine.revision >= 20, seconds=5)
    assert east.machine.reads - reads < 30


async def test_a_long_interval_does_not_make_the_stream_look_dead(make_region, network):
    east = make_region("east", batch_interval_seconds=0.6, heartbeat_seconds=0.02, silence_seconds=0.2)
    west = make_region("west", heartbeat_seconds=0.02, silence_seconds=0.2)
    await bootstrap([east, west], "east")
    await east.replication.start()
    await eventually(lambda: west.machine.state.epoch == 1)
    opened = len(network.attempts)
    await east.write(b"value")
    await eventually(lambda: west.machine.revision == 2)
    assert len(network.attempts) == opened


async def test_a_silent_link_is_given_up_and_dialled_again(make_region, network):
    east = make_region("east", silence_seconds=0.1)
    west = make_region("west", silence_seconds=0.1)
    await bootstrap([east, west], "east")
    await east.replication.start()
    await eventually(lambda: west.machine.state.epoch == 1)
    network.silent = True
    await east.write(b"value")
    await eventually(lambda: not east.progress["west"].connected)
    network.silent = False
    await eventually(lambda: converged([east, west]))


async def test_a_stream_without_acknowledgements_is_given_up(make_region, network, sender_log):
    east = make_region("east", stall_seconds=0.1)
    west = make_region("west")
    await bootstrap([east, west], "east")
    await east.replication.start()
    await eventually(lambda: west.machine.state.epoch == 1)
    west.group.commit_seconds = 0.4
    await east.write(b"value")
    await eventually(lambda: len(network.attempts) >= 2)
    assert "nothing acknowledged" in sender_log.text
    await eventually(lambda: converged([east, west]))


async def test_every_address_is_tried_and_a_named_leader_followed(make_region, network):
    east = make_region("east")
    west = make_region("west", replicas=3)
    follower = make_region("west")  # answers at west-1 and knows that west-0 leads
    await bootstrap([east, west], "east")
    follower.group.names = ["west-1", "west-0", "west-2"]
    follower.group.leader = "west-0"
    network.replications["west-0:2380"] = west.replication
    network.replications["west-1:2380"] = follower.replication
    network.down.add("west-2:2380")
    order = topology([east, west], "east", version=2)
    order.regions[1].replicas.reverse()  # 2 is down, 1 names 0
    await east.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=order))
    await east.replication.start()
    await east.write(b"value")
    await eventually(lambda: converged([east, west]))
    assert network.attempts == ["west-2:2380", "west-1:2380", "west-0:2380"]


async def test_losing_leadership_ends_the_streams_and_a_new_leader_starts_them(three):
    east, north, _ = three
    await eventually(lambda: north.machine.state.epoch == 1)
    east.group.lead("east-9")
    await eventually(lambda: east.replication.sender.targets == ())
    assert east.replication.progress() == ()
    east.group.lead("east-0")
    await east.write(b"value")
    await eventually(lambda: converged(three))


async def test_a_receiver_that_loses_leadership_names_the_new_leader(three, network):
    east, north, _ = three
    await eventually(lambda: north.machine.state.epoch == 1)
    north.group.names.append("north-7")
    north.group.lead("north-7")
    await eventually(lambda: not east.progress["north"].connected)
    await eventually(lambda: "north-7:2380" in network.attempts)


async def test_a_failed_proposal_is_sent_again_and_applied_once(three):
    east, north, _ = three
    await eventually(lambda: north.machine.state.epoch == 1)
    for number in range(10):
        north.group.fail_next = errors.OutcomeUnknown() if number % 2 else errors.TooManyRequests()
        await east.write(b"%d" % number)
        await eventually(lambda: converged(three))


async def test_a_region_of_another_store_is_never_written_to(make_region):
    east, west = make_region("east"), make_region("west")
    await bootstrap([east, west], "east")
    west.machine.state = type(west.machine.state)("west", store_id="store-2")
    await east.write(b"value")
    await east.replication.start()
    await eventually(lambda: "wrong-store" in (east.progress["west"].last_error if east.progress else ""))
    assert west.machine.revision == 1


async def test_a_region_not_bootstrapped_yet_is_waited_for(make_region):
    east, west = make_region("east"), make_region("west")
    await bootstrap([east], "east")
    both = topology([east, west], "east", version=2)
    await east.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=both))
    await east.write(b"value")
    await east.replication.start()
    await eventually(lambda: "not-bootstrapped" in (east.progress["west"].last_error if east.progress else ""))
    await west.controller.bootstrap(pb.BootstrapRequest(store_id=STORE, topology=both))
    await eventually(lambda: converged([east, west]))


async def test_a_region_with_a_tail_of_its_own_leaves_it(make_region):
    east, west = make_region("east"), make_region("west")
    await bootstrap([east, west], "east")
    west.machine.state = type(west.machine.state)(
        "west", store_id=STORE, epoch=1, promised_epoch=1, history=east.machine.state.history
    )
    west.machine.revision, west.machine.values = 3, {2: b"a", 3: b"b"}
    await east.write(b"a")
    second = topology([east, west], "east", epoch=2)
    await east.controller.promote(pb.PromoteRequest(store_id=STORE, epoch=2, topology=second))
    await east.write(b"c")
    await east.replication.start()
    await eventually(lambda: converged([east, west]))
    assert west.machine.values == {2: b"a", 3: b"c"}
    assert west.machine.tails == [{3: b"b"}]


async def test_stopping_ends_every_stream(three, network):
    east, *_ = three
    await eventually(lambda: len(network.connections) == 2)
    await east.replication.stop()
    assert not network.connections
    assert east.replication.progress() == ()


async def test_pauses_between_attempts_grow_and_are_short_again_after_progress(make_region, network):
    chance = LongestPauses()
    backoff = {"backoff_min_seconds": 0.1, "backoff_max_seconds": 5.0}
    east = make_region("east", clock=FastClock(100), rng=chance, silence_seconds=100.0, **backoff)
    west = make_region("west")
    await bootstrap([east, west], "east")
    network.down.add(west.addresses[0])
    await east.replication.start()
    await eventually(lambda: len(chance.pauses) >= 8)
    assert chance.pauses[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    network.down.clear()
    await east.write(b"value")
    await eventually(lambda: east.progress["west"].acked_revision == 2)
    before = len(chance.pauses)
    network.down.add(west.addresses[0])
    network.break_all()
    await eventually(lambda: len(chance.pauses) > before)
    assert chance.pauses[before] == 0.1


async def test_a_region_that_moved_is_dialled_at_its_new_address(make_region, network):
    east, west = make_region("east"), make_region("west")
    await bootstrap([east, west], "east")
    await east.replication.start()
    await eventually(lambda: west.machine.state.epoch == 1)
    west.addresses = ["west-new:2380"]
    network.replications["west-new:2380"] = west.replication
    network.down.add("west-0:2380")
    moved = topology([east, west], "east", version=2)
    await east.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=moved))
    await eventually(lambda: "west-new:2380" in network.attempts)
    await east.write(b"value")
    await eventually(lambda: converged([east, west]))


async def test_a_new_source_leader_streams_only_after_it_applied_what_was_committed(make_region):
    east, west = make_region("east"), make_region("west")
    await bootstrap([east, west], "east")
    await east.replication.start()
    await eventually(lambda: west.machine.state.epoch == 1)
    await east.replication.stop()
    # Its predecessor has committed and streamed a write that this leader has not applied yet.
    put = pb.WriteRequest(put=rpc_pb2.PutRequest(key=b"k", value=b"value"))
    east.group.committed_unapplied = [pb.LogEntry(write=pb.WriteBatch(epoch=1, requests=[put])).SerializeToString()]
    west.machine.revision, west.machine.values = 2, {2: b"value"}
    refusals = []
    east.replication.sender._progress.disconnected = lambda _region, error: refusals.append(error)
    await east.replication.start()
    await eventually(lambda: converged([east, west]))
    await eventually(lambda: east.progress["west"].acked_revision == 2)
    assert not refusals


async def test_an_unforeseen_failure_of_a_stream_or_of_the_review_is_survived(make_region, sender_log):
    east, west = make_region("east"), make_region("west")
    await bootstrap([east, west], "east")
    await east.replication.start()
    await eventually(lambda: west.machine.state.epoch == 1)
    read, status, failures = east.machine.rows_after, east.group.status, ["stream", "review"]

    def broken_read(*arguments, **options):
        east.machine.rows_after = read
        raise RuntimeError(failures[0])

    def broken_status():
        raise RuntimeError(failures[1])

    east.machine.rows_after = broken_read
    await east.write(b"one")
    await eventually(lambda: converged([east, west]))
    east.group.status = broken_status
    east.replication.sender.review()
    await eventually(lambda: "role_review_failed" in sender_log.lines)
    east.group.status = status
    east.replication.sender.review()
    await east.write(b"two")
    await eventually(lambda: converged([east, west]))
    assert {"stream_task_died", "role_review_failed"} <= set(sender_log.lines)


async def test_a_region_that_stays_away_does_not_fill_the_log(make_region, network, sender_log):
    east, west = make_region("east", backoff_max_seconds=0.01), make_region("west", replicas=3)
    await bootstrap([east, west], "east")
    network.replications.pop("west-0:2380")
    await east.replication.start()
    await eventually(lambda: len(network.attempts) >= 30)
    assert sender_log.lines.count("stream_failed") == 3  # once per address
