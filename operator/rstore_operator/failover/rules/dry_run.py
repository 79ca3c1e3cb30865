"""What ``failover-to`` would come to now, by the same tables."""

from __future__ import annotations

from dataclasses import replace

from rstore_operator.facts.witness_tenure import CLOCK_MARGIN
from rstore_operator.failover.choice import candidates, loss_in
from rstore_operator.failover.lost import is_apart
from rstore_operator.failover.rules.decisions import Begin, Wait
from rstore_operator.failover.rules.fencing import fencing
from rstore_operator.failover.rules.requests import request
from rstore_operator.failover.scene import Scene
from rstore_operator.planning.hashes import warning_of


def dry_run(scene: Scene, target: str) -> tuple[bool, str]:
    """Whether ``failover-to`` with that region would begin a change of primary now, and what it would cost; of the
    primary region, whether it would be replaced by itself.
    """
    if target == scene.truth.primary_region:
        return fencing(scene)
    truth, under_way = scene.truth, scene.status.failover is not None
    lost = scene.observed.leader(truth.primary_region) is None or is_apart(scene, target)
    forced = bool(truth.epoch) and target != truth.primary_region and lost
    mode = "forced" if forced else None
    asked = replace(scene, commands=replace(scene.commands, failover_to=target, failover_mode=mode))
    decision = request(asked)
    blocked = "" if decision is None or isinstance(decision, Begin) else decision.message
    if not forced:
        blocked = "a switchover is under way" if under_way and target != truth.primary_region else blocked
        if blocked:
            comes_to = "wait" if isinstance(decision, Wait) else "be refused"
            return False, f"a switchover to {target} would {comes_to}: {blocked}"
        lag = scene.progress(target)
        missing = f"{lag.lag_revisions} revisions, {lag.lag_bytes} bytes" if lag else "unknown"
        return True, (
            f"a switchover from {truth.primary_region} to {target} would begin epoch {truth.highest_epoch + 1}, "
            f"lose nothing, and stop writes for about {(lag.lag_seconds if lag else 0.0) + 0.2:.1f} s (still to be "
            f"sent: {missing})" + warning_of(scene.status, target)
        )
    order = candidates(scene)
    winner = order[0].region if order else "nobody"
    named = next((position for position in order if position.region == target), None)
    blocked = "a change of primary is under way" if under_way else blocked
    if named is None or under_way or isinstance(decision, Wait):
        return False, f"a failover to {target} would be blocked: {blocked}; {winner} would win"
    loss, gate = loss_in(scene, named)
    blocked = gate or blocked
    why = "holds no tenure and is cut off" if scene.without_primary else "cannot be asked"
    return not blocked, (
        f"{truth.primary_region} {why}; a forced failover to {target} would begin epoch "
        f"{truth.highest_epoch + 1}, may lose {loss}, and writes would go on after about "
        f"{_longest_grant_seconds(scene) + 0.5:.1f} s; by itself {winner} would win"
        + (f"; blocked: {blocked}" if blocked else "")
        + warning_of(scene.status, target)
    )


def _longest_grant_seconds(scene: Scene) -> float:
    asked = scene.voters.regions - ({scene.truth.primary_region} if scene.without_primary else set())
    leaders = [scene.observed.leader(name) for name in asked]
    running = [leader.granted.remaining_ms for leader in leaders if leader is not None and leader.granted is not None]
    if scene.voters.witness:
        running.append(scene.rules.tenure_ms)
    return max(running, default=scene.rules.tenure_ms) / 1000 * CLOCK_MARGIN
