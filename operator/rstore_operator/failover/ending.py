"""A primary region whose replicas are being stopped: the primary moves to another region before it is gone. Pure.

A drain, an eviction, a deleted pod, a node that shuts down: so many replicas of the primary region were asked to stop
that no majority of its Raft group stays. They refuse writes and wait a while for this planned switchover, which has no
tenure to wait out and loses nothing; without it the region is missed, and replaced by a failover, after it is gone.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from rstore_operator.facts.observed import Progress
from rstore_operator.facts.without_tenure import streams_to
from rstore_operator.failover.lost import ending
from rstore_operator.failover.planned import begin
from rstore_operator.failover.requests import Answer, obstacles
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.state import Outcome, Trigger

RETRY_AFTER_SECONDS = 30.0
"""After a move that was given up, the next one begins not before this."""
CLOSE_SECONDS = 1.0
"""Regions that are behind by less than this count as equally near."""


def move_away(scene: Scene, reply: Answer) -> None:
    """Begin a switchover out of a primary region that ends, to the connected region that is nearest to it."""
    primary = scene.truth.primary_region
    why = ending(primary, scene.observed)
    if reply.intent is not None or scene.spec is None or not why:
        return
    reply.suspicious = True
    last = scene.status.history[-1] if scene.status.history else None
    given_up = last is not None and last.outcome is Outcome.ABORTED and last.from_region == primary
    if given_up and last is not None and (scene.clock.now - last.finished_at).total_seconds() < RETRY_AFTER_SECONDS:
        return
    target = _nearest(scene)
    if target is None or scene.failover.policy != "Automatic":
        return
    truth = scene.truth
    intent = begin(
        Trigger.PRIMARY_STOPPING,
        primary,
        target,
        epoch=truth.epoch,
        highest_epoch=max(truth.highest_epoch, truth.promised_epoch),
        now=scene.clock.now,
    )
    source = scene.observed.leader(primary)
    if source is not None and source.ending:
        intent = replace(intent, stopped_at=scene.clock.now - timedelta(seconds=source.ending_seconds))
    reply.intent = replace(intent, reason=why)


def _nearest(scene: Scene) -> str | None:
    """The region to move to: close behind the primary, then the lowest priority number, then the name."""
    source = scene.observed.leader(scene.truth.primary_region)
    lags = {item.region: item for item in source.progress} if source is not None else {}

    def rank(name: str) -> tuple[float, int, str]:
        return _distance(lags[name]), scene.rules.priorities[name], name

    able = [
        name
        for name in scene.regions
        if name != scene.truth.primary_region
        and name in lags
        and name in scene.rules.priorities
        and streams_to(source, name)
        and not obstacles(name, scene.observed, scene.truth)
        and not ending(name, scene.observed)
    ]
    return min(able, key=rank, default=None)


def _distance(progress: Progress) -> float:
    return 0.0 if progress.lag_seconds < CLOSE_SECONDS else progress.lag_seconds
