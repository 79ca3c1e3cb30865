"""Where a region may take over: which regions can, which of them is best, and what speaks against each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rstore_api.domain.voters import WITNESS

from rstore_operator.facts.observed import FenceAnswer
from rstore_operator.facts.without_tenure import streams_to
from rstore_operator.failover.loss_gate import Loss, expected_loss, loss_refusal
from rstore_operator.failover.lost import ending
from rstore_operator.failover.scene import Rules, Scene

NO_COPY = "none of the regions that can be reached holds a copy of the store"
CLOSE_SECONDS = 1.0
"""Regions that are behind by less than this count as equally near."""
FAR_SECONDS = 5.0
"""Writers would wait for a region that is further behind for longer than for a failover."""


def ranked(positions: Collection[FenceAnswer], priorities: Mapping[str, int]) -> list[FenceAnswer]:
    """Regions that may become primary, best first: most data, then lowest priority number, then name.

    A region of epoch 0 has never received anything: it is no copy of the store.
    """
    able = [position for position in positions if position.region in priorities and position.data_epoch > 0]
    return sorted(able, key=lambda a: (-a.data_epoch, -a.revision, priorities[a.region], a.region))


def behind(named: FenceAnswer, best: FenceAnswer, from_epoch: int, rules: Rules) -> str:
    """Why the region that a person named may not take over from ``from_epoch``; "" when it holds as much as the best
    one, or the loss is accepted."""
    if rules.loss_accepted or (named.data_epoch, named.revision) >= (best.data_epoch, best.revision):
        return ""
    return (
        f"{named.region} is behind {best.region}: it is at revision {named.revision} of epoch {named.data_epoch}, "
        f"{best.region} at {best.revision} of {best.data_epoch}; name {best.region}, or accept the loss by "
        f'accept-data-loss: "{from_epoch}"'
    )


def obstacles(scene: Scene, to_region: str) -> str:
    """What speaks against a planned switchover just now; "" when nothing does."""
    primary = scene.truth.primary_region
    source, target = scene.observed.leader(primary), scene.observed.leader(to_region)
    if source is None:
        return f"the primary region {primary} has no leader that answers"
    if not source.writable:
        return f"the primary region {primary} does not accept writes"
    if target is None:
        return f"{to_region} has no leader that answers"
    if not target.store_id:
        return f"{to_region} has not been bootstrapped yet"
    if source.lacks_tenure and not streams_to(source, to_region):
        return (
            f"the primary region {primary} holds no tenure, and its last revisions do not reach "
            f"{to_region}; bring back the network between them, or fail over by failover-mode: forced"
        )
    return ""


def too_far(scene: Scene, to_region: str) -> str:
    """Why writers would wait too long for a region once the primary has stopped; "" when they would not.

    The text has no numbers that move, since a condition and an event report it.
    """
    primary, lag = scene.truth.primary_region, scene.progress(to_region)
    if lag is None or not lag.connected:
        return f"{to_region} has no stream from the primary region {primary}"
    if lag.lag_seconds > FAR_SECONDS:
        return f"{to_region} is more than {FAR_SECONDS:g} s behind the primary region {primary}"
    return ""


def nearest(scene: Scene, given_up: Collection[str] = ()) -> str | None:
    """The region to move to, none of ``given_up``: close behind the primary, then the lowest priority number, then the
    name."""
    source = scene.observed.leader(scene.truth.primary_region)
    lags = {item.region: item.lag_seconds for item in (source.progress if source is not None else ())}

    def rank(name: str) -> tuple[float, int, str]:
        return 0.0 if lags[name] < CLOSE_SECONDS else lags[name], scene.rules.priorities[name], name

    able = [
        name
        for name in scene.regions
        if name not in (scene.truth.primary_region, *given_up)
        and name in lags
        and name in scene.rules.priorities
        and streams_to(source, name)
        and not obstacles(scene, name)
        and not ending(name, scene.observed)
    ]
    return min(able, key=rank, default=None)


def candidates(scene: Scene) -> list[FenceAnswer]:
    """The regions that may take over, best first, before any is fenced. A primary that answers without its tenure is
    not among them."""
    without = scene.truth.primary_region if scene.without_primary else ""
    return [position for position in ranked(_standing(scene), scene.rules.priorities) if position.region != without]


def shortfall(scene: Scene) -> str:
    """Which voters a failover lacks, since they could not be fenced now; "" when a majority could."""
    return scene.voters.shortfall(_reachable(scene) | scene.absent)


def _reachable(scene: Scene) -> frozenset[str]:
    """The voters that could be fenced now, with the witness."""
    leaders = {name: scene.observed.leader(name) for name in scene.voters.regions}
    return frozenset(name for name, leader in leaders.items() if leader is not None and leader.store_id) | {WITNESS}


def needed_absent(scene: Scene, present: Collection[str]) -> frozenset[str]:
    """The voters of which nothing is left, where those ``present`` are no majority without them."""
    return frozenset() if scene.voters.decides(present) else scene.absent & scene.voters.regions


def loss_in(scene: Scene, target: FenceAnswer) -> tuple[Loss, str]:
    """What a failover to ``target`` would lose as far as is known before fencing, and why the loss gate stays shut."""
    primary, epoch = scene.truth.primary_region, scene.truth.epoch
    loss = expected_loss(
        primary, epoch, last_known_revision(scene, primary), target, _standing(scene), scene.memory, scene.voters,
        scene.rules, final=False,
    )  # fmt: skip
    absent = needed_absent(scene, _reachable(scene))
    return loss, loss_refusal(loss, target.region, primary, epoch, scene.rules, absent)


def last_known_revision(scene: Scene, region: str) -> int:
    """The newest revision that the region ever reported; 0 when it never reported any."""
    last, recorded = scene.memory.last_leaders.get(region), scene.status.region(region)
    seen = [replica.revision for replica in scene.observed.region(region).replicas]
    return max([0, *seen, *([last.revision] if last else []), *([recorded.revision] if recorded else [])])


def _standing(scene: Scene) -> list[FenceAnswer]:
    """Where the regions that answer stand; not final before they are fenced."""
    positions = []
    for name in scene.regions:
        leader = scene.observed.leader(name)
        if leader is not None and leader.store_id:
            guarantee = (leader.granted.epoch, leader.granted.in_sync_regions) if leader.granted else (0, 0)
            positions.append(FenceAnswer(name, 0, leader.epoch, leader.revision, 0.0, *guarantee, leader.history))
    return positions
