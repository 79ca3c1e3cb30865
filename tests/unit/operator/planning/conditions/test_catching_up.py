"""What status and events say of a region that is receiving a snapshot."""

from __future__ import annotations

from rstore_api.proto import rstore_pb2 as pb
from rstore_operator.cluster.messages import replica_status
from rstore_operator.facts.observed import Staged
from unit.operator.world import World


def shown(world: World, name: str) -> dict:
    return next(region for region in world.status["regions"] if region["name"] == name)


def test_a_region_that_receives_a_snapshot_is_catching_up_until_it_is_installed() -> None:
    world = World()
    world.settle()
    events = len(world.events)
    for rows in (0, 12_345, 12_399, 13_000):
        world.regions["eu-west"].staged = Staged(revision=5000, rows=rows)
        world.step()
    region = shown(world, "eu-west")
    assert region["phase"] == "CatchingUp"
    assert region["message"] == "receives a snapshot of revision 5000, 13,000 rows so far"
    progressing = next(item for item in world.status["conditions"] if item["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "CatchingUp")
    assert world.status["phase"] == "Changing"
    assert [reason for reason, _ in world.events[events:]] == ["RegionCatchingUp"]
    world.regions["eu-west"].staged = None
    world.step()
    assert shown(world, "eu-west")["phase"] == "Ready"
    assert "message" not in shown(world, "eu-west")
    assert [reason for reason, _ in world.events[events:]] == ["RegionCatchingUp", "RegionReady"]


def test_small_progress_is_no_news() -> None:
    world = World()
    world.settle()
    writes = []
    for rows in (12_000, 12_345, 12_999, 13_000):
        world.regions["eu-west"].staged = Staged(revision=5000, rows=rows)
        world.step()
        writes.append(world.status_writes)
    assert writes[0] == writes[1] == writes[2] < writes[3]


def test_what_a_replica_reports_of_it_is_read() -> None:
    assert replica_status("eu", pb.StatusResponse()).staged is None
    message = pb.StatusResponse(staged=pb.StagedSnapshot(revision=7, rows=3))
    assert replica_status("eu", message).staged == Staged(7, 3)
