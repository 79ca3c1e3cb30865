"""Pods that a region should have and that are not there, or do not start, as a look shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rstore_api.domain import names

from rstore_operator.facts.observed import CLAIM, ChildKey, Observed, Pod
from rstore_operator.resource.state import StoreStatus

Lack = tuple[str, str]
"""What is the matter, and the name of the pod (or of the StatefulSet) that it is the matter with."""

ABSENT, WAITING, UNREADY, NO_SET, PRESENT = "Absent", "Waiting", "Unready", "NoStatefulSet", "Present"
ENDING = "Ending"
"""The kinds of lacks that are remembered; ``PRESENT`` is when a pod was last there."""


def lacks_since(
    before: Mapping[Lack, float], store: str, regions: Iterable[str], observed: Observed, now_seconds: float
) -> dict[Lack, float]:
    """Since when each pod is missing or waits, and when it was last there, as far as this process has seen it."""
    after: dict[Lack, float] = {}
    for region in regions:
        pods = observed.region(region).pods
        missing = missing_pods(store, region, observed)
        lacks = [(ABSENT, name) for name in missing]
        lacks += [(WAITING, pod.name) for pod in pods if why_not_started(pod, observed)]
        lacks += [(UNREADY, pod.name) for pod in pods if not pod.ready and not pod.terminating]
        lacks += [(ENDING, pod.name) for pod in pods if pod.terminating]
        if not pods and set_key(store, region) not in observed.children:
            lacks.append((NO_SET, names.region_object(store, region)))
        after |= {lack: before.get(lack, now_seconds) for lack in lacks}
        after |= {(PRESENT, pod.name): now_seconds for pod in pods}
        after |= {(PRESENT, name): before[PRESENT, name] for name in missing if (PRESENT, name) in before}
    return after


def staying_regions(observed: Observed, status: StoreStatus) -> list[str]:
    """Regions that should have pods, sorted: those of the status that are not being removed, and live ones."""
    return sorted({region.name for region in status.regions if region.phase != "Removing"} | observed.live_regions())


def set_key(store: str, region: str) -> ChildKey:
    """The region's StatefulSet."""
    return "StatefulSet", names.region_object(store, region)


def missing_pods(store: str, region: str, observed: Observed) -> tuple[str, ...]:
    """Pods that the region's StatefulSet should have, and has not."""
    live = observed.children.get(set_key(store, region))
    if live is None or live["metadata"].get("deletionTimestamp"):
        return ()
    count = (live.get("spec") or {}).get("replicas")
    present = {pod.name for pod in observed.region(region).pods}
    wanted = names.pod_names(store, region, count) if isinstance(count, int) else ()
    return tuple(name for name in wanted if name not in present)


def why_not_started(pod: Pod, observed: Observed) -> str:
    """Why a pod does not start; "" when nothing speaks against it."""
    if pod.ready or pod.terminating:
        return ""
    volume = "" if pod.ip else "; ".join(_unbound(pod, observed))
    return "; ".join(text for text in (pod.problem, volume) if text)


def _unbound(pod: Pod, observed: Observed) -> Iterator[str]:
    claim = observed.claims.get(names.claim_of(pod.name))
    if claim is not None and not claim.bound:
        of_class = f" of StorageClass {claim.storage_class}" if claim.storage_class else ""
        why = observed.refusals.get((CLAIM, claim.name), "")
        yield f"its volume{of_class} is not bound" + (f": {why}" if why else "")
