"""One word for people about the whole store. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rstore_operator.resource.parse import Problem
from rstore_operator.resource.state import Phase, StoreStatus


def phase_of(status: StoreStatus, spec_problems: Sequence[Problem], *, frozen: bool) -> Phase:
    """The phase that follows from everything else in ``status``; ``frozen`` while the store is paused."""
    degraded = status.condition("Degraded")
    progressing = status.condition("Progressing")
    if spec_problems:
        return Phase.INVALID
    if status.failover is not None:
        return Phase.SWITCHING_OVER
    if not status.epoch:
        return (
            Phase.PENDING if frozen or all(region.phase == "Pending" for region in status.regions) else Phase.CREATING
        )
    if degraded is not None and degraded.status == "True":
        return Phase.DEGRADED
    if progressing is not None and progressing.status == "True" and progressing.reason == "Regions":
        return Phase.CREATING
    ready = status.condition("Ready")
    return Phase.STEADY if ready is not None and ready.status == "True" else Phase.DEGRADED
