"""One word for people about the whole store."""

from __future__ import annotations

from collections.abc import Sequence

from rstore_operator.planning.conditions.conditions import ROLLING_OUT
from rstore_operator.resource.reader import Problem
from rstore_operator.resource.state import Phase, StoreStatus


def phase_of(status: StoreStatus, spec_problems: Sequence[Problem], *, frozen: bool) -> Phase:
    """The phase that follows from everything else in ``status``; ``frozen`` while the store is paused.

    What is worse than a pause is shown instead of it."""
    degraded = status.condition("Degraded")
    progressing = status.condition("Progressing")
    if spec_problems:
        return Phase.INVALID
    if status.failover is not None:
        return Phase.SWITCHING_OVER
    if not status.epoch:
        if frozen:
            return Phase.PAUSED
        return Phase.PENDING if all(region.phase == "Pending" for region in status.regions) else Phase.CREATING
    ready = status.condition("Ready")
    if ready is not None and ready.reason == "Restoring":
        return Phase.RESTORING
    if degraded is not None and degraded.status == "True":
        return Phase.DEGRADED
    if progressing is not None and progressing.status == "True" and progressing.reason == "Regions":
        return Phase.CREATING
    if progressing is not None and progressing.status == "True" and progressing.reason == ROLLING_OUT:
        return Phase.ROLLING_OUT
    if ready is None or ready.status != "True":
        return Phase.DEGRADED
    if progressing is not None and progressing.status == "True":
        return Phase.CHANGING
    return Phase.PAUSED if frozen else Phase.STEADY
