"""A ``failover-to`` that waits: for what, and when it has waited too long."""

from __future__ import annotations

from datetime import datetime

from rstore_api.domain.kubernetes import FAILOVER_TO

from rstore_operator.failover.answered import requests_of
from rstore_operator.failover.rules.decisions import Begin, Decision, Done, Refuse, Wait
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.commands import Commands
from rstore_operator.resource.state import PendingRequest
from rstore_operator.resource.units import format_duration_ms


def pending(scene: Scene, asked: Decision | None) -> tuple[str, str] | None:
    """Why ``failover-to`` waits, which came to ``asked``: reason and message; None when it does not."""
    intent = scene.status.failover
    if scene.commands.failover_to is None or isinstance(asked, Begin | Refuse | Done):
        return None
    if isinstance(asked, Wait):
        return asked.reason, asked.message
    if intent is not None:
        carried_out = scene.commands.failover_to in (intent.asked_for, intent.to_region)
        message = f"the change of primary from {intent.from_region} under way has to end first"
        return None if carried_out else ("ChangeUnderWay", message)
    return "Paused", "the store is paused"


def expired(scene: Scene, waits_for: tuple[str, str]) -> Refuse | None:
    """The refusal of a request that has waited for longer than it may; None while it has not."""
    before, timeout_ms = scene.status.pending_request, scene.failover.request_timeout_ms
    if before is None or before.value != _value(scene.commands):
        return None
    if (scene.clock.now - before.since).total_seconds() * 1000 < timeout_ms:
        return None
    return Refuse("RequestExpired", f"it waited for {format_duration_ms(timeout_ms)}, in vain: {waits_for[1]}")


def next_pending(
    before: PendingRequest | None, commands: Commands, *, waits: bool, now: datetime
) -> PendingRequest | None:
    """What `.status` records of the request that waits: since when."""
    if not waits:
        return None
    value = _value(commands)
    return before if before is not None and before.value == value else PendingRequest(value, now)


def _value(commands: Commands) -> str:
    return requests_of(commands).get(FAILOVER_TO, "")
