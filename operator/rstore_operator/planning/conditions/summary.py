"""The texts of ``kubectl get``, and what versions of the software run."""

from __future__ import annotations

from rstore_operator.facts.observed import Observed
from rstore_operator.resource.state import PLANNED, Outcome, Receipt, RegionStatus, Summary
from rstore_operator.resource.units import format_lag


def summary(
    regions: tuple[RegionStatus, ...], observed: Observed, history: tuple[Receipt, ...], before: Summary
) -> Summary:
    """The texts; ``before`` are those that were shown last."""
    staying = [region for region in regions if region.phase != "Removing"]
    followers = [region for region in staying if region.role == "Secondary"]
    if not followers:
        lag = "-"
    elif all(region.connected for region in followers):
        lag = format_lag(max(region.lag_seconds for region in followers))
    else:
        lag = "unknown"
    versions = sorted({replica.version for replica in observed.replicas() if replica.version})
    moves = [receipt.finished_at for receipt in history if _moved(receipt)]
    return Summary(
        regions=f"{sum(region.phase == 'Ready' for region in staying)}/{len(staying)}",
        replicas=f"{sum(region.ready_replicas for region in staying)}/{sum(region.replicas for region in staying)}",
        lag=lag,
        version=", ".join(versions) if versions else before.version,
        primary_since=moves[-1] if moves else before.primary_since,
    )


def _moved(receipt: Receipt) -> bool:
    """Whether another region became primary."""
    return receipt.outcome is Outcome.SUCCEEDED or (
        receipt.mode != PLANNED and receipt.to_region != receipt.from_region
    )


def feature_level(observed: Observed, before: int) -> int:
    """The level that every replica of the store knows; ``before`` until all pods have answered in one look."""
    pods = {pod.name for region in observed.regions.values() for pod in region.pods}
    levels = {replica.name: replica.feature_level for replica in observed.replicas()}
    return min(levels.values()) if levels and pods == levels.keys() else before
