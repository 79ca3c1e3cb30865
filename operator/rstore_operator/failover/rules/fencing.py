"""Whether the primary region would be fenced by itself now, and why, for a person: by the tables of faults."""

from __future__ import annotations

from rstore_operator.failover.choice import candidates
from rstore_operator.failover.lost import grant_ages_ms, primary_silence
from rstore_operator.failover.rules.decisions import Begin, Wait, first
from rstore_operator.failover.rules.faults import LOST
from rstore_operator.failover.scene import Scene


def fencing(scene: Scene) -> tuple[bool, str]:
    """Whether a failover away from the primary region would begin now, and what that depends on."""
    primary, intent = scene.truth.primary_region, scene.status.failover
    if intent is not None:
        under_way = f"a change of primary from {intent.from_region} to {intent.to_region or 'the best region'}"
        return False, f"{under_way} is under way, step {intent.step.value}"
    if scene.spec is None:
        return False, f"{primary} would not be fenced: nothing begins by itself while the spec is invalid"
    decision = first(LOST, scene)
    if isinstance(decision, Begin):
        best = next((position.region for position in candidates(scene)), "nobody")
        why = decision.intent.reason or f"no leader of {primary} answers, and a majority of voters sees no renewal"
        paused = "; it does not begin while the store is paused" if scene.commands.paused else ""
        return not paused, f"{primary} would be fenced now: {why}; {best} would take over{paused}"
    if isinstance(decision, Wait):
        return False, f"{primary} would not be fenced now ({decision.reason}): {decision.message}"
    return False, f"{primary} would not be fenced now: {_why_not(scene)}"


def _why_not(scene: Scene) -> str:
    primary, delay = scene.truth.primary_region, f"{scene.failover.failover_delay_ms / 1000:g} s"
    leader, quiet = scene.observed.leader(primary), primary_silence(scene)
    if quiet is not None:
        waited = f"{(scene.clock.now - quiet.since).total_seconds():.1f} s"
        doubt = "" if quiet.lost else f" ({quiet.doubt})"
        return f"no leader of it has answered for {waited}{doubt}, and spec.failover.failoverDelay is {delay}"
    if leader is None:
        return "no leader of it answers, and since when is not known yet"
    without_seconds = scene.memory.without_tenure_seconds.get(primary)
    if without_seconds is None:
        return f"its leader {leader.name} answers, and nothing says that it lacks its tenure"
    ages = sorted(grant_ages_ms(scene, since_epoch=scene.truth.epoch).items())
    renewed = ", ".join(f"{name} renewed it {age_ms / 1000:.1f} s ago" for name, age_ms in ages)
    return (
        f"its leader {leader.name} answers, without its tenure for {without_seconds:.1f} s; a failover begins once "
        f"that, and that a majority of voters has not renewed it, lasts for {delay}: "
        f"{renewed or 'no other region reports'}"
    )
