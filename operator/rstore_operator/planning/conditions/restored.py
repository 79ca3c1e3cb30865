"""The condition ``Restored``: whether the past state is there with which the store begins; only where one is wanted."""

from __future__ import annotations

from collections.abc import Iterator

from rstore_backup.restore_report import RestoreProblem

from rstore_operator.facts.actions import Notice
from rstore_operator.resource.state import BootstrapPhase, StoreStatus

RESTORED = "Restored"
LETTING_IN = "LettingIn"
"""Reason: all is there, and replicas still have to be told that clients may come."""
BLOCKING = frozenset(
    {problem.value for problem in RestoreProblem} | {"NoBackup", "NotStarted", "ReplicasTooOld", "SourceMissing"}
)
"""Reasons for which it does not go on, rather than not being done yet."""
STALLING = BLOCKING - {
    RestoreProblem.ARCHIVE_NOT_READ.value,
    RestoreProblem.STORE_NOT_READY.value,
    "NotStarted",
    "NoBackup",
}
"""Of these, the ones that a person has to remove."""


def restore_notices(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    """An event when a restore begins, when it does not go on for another reason, and when it has ended."""
    phase = after.bootstrap.phase if after.bootstrap is not None else None
    condition, earlier = after.condition(RESTORED), before.condition(RESTORED)
    if phase is not (before.bootstrap.phase if before.bootstrap is not None else None):
        if phase is BootstrapPhase.RESTORING:
            yield Notice(
                "Restoring", "the store is filled from an archive, and clients are kept out until that is done"
            )
        elif condition is not None and phase is BootstrapPhase.IGNORED:
            yield Notice("BootstrapIgnored", condition.message, warning=True)
    if condition is not None and condition.status == "True" and (earlier is None or earlier.status != "True"):
        yield Notice("Restored", condition.message)
    if condition is None or phase is not BootstrapPhase.RESTORING or condition.reason not in BLOCKING:
        return
    if earlier is None or (earlier.reason, earlier.message) != (condition.reason, condition.message):
        yield Notice(f"Restore{condition.reason}", condition.message, warning=True)
