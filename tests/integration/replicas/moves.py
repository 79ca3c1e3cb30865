"""Changes of primary as an operator makes them, which lose nothing: the old primary is demoted first."""

from __future__ import annotations

from integration.replicas.server_processes import RegionProcesses, eventually, topology
from rstore_api.domain.epochs import REVISION_JUMP
from rstore_api.proto import rstore_pb2


async def switch_over(source: RegionProcesses, target: RegionProcesses, other: RegionProcesses, *, epoch: int) -> None:
    """A planned one: every region goes on."""
    where = await _hand_over(source, target, other, epoch, revision_jump=0)
    for region in (source, other):
        await region.set_topology(where)


async def fail_over(lost: RegionProcesses, target: RegionProcesses, other: RegionProcesses, *, epoch: int) -> None:
    """An unplanned one: the first replica of the lost region is killed."""
    where = await _hand_over(lost, target, other, epoch, revision_jump=REVISION_JUMP)
    lost.replicas[0].kill()
    await other.set_topology(where)


async def _hand_over(
    source: RegionProcesses, target: RegionProcesses, other: RegionProcesses, epoch: int, *, revision_jump: int
) -> rstore_pb2.Topology:
    demoted = await source.demote(epoch)  # the target then has everything that was acknowledged
    where = topology(target.region, target, source, other, epoch=epoch)

    async def promoted() -> rstore_pb2.PromoteResponse:
        return await target.promote(epoch, demoted.final_revision, where, revision_jump=revision_jump)

    await eventually(promoted)
    return where
