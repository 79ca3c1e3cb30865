"""Which pods were made from an older template than the newest, or have a volume to be replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rstore_api.domain.voters import majority

from rstore_operator.facts.lacks import missing_pods, set_key
from rstore_operator.facts.observed import Claim, Observed, Pod, RegionObserved
from rstore_operator.planning.moving import old_volumes, unbound_of_other_class
from rstore_operator.resource.model import RegionSpec

Body = Mapping[str, Any]


@dataclass(frozen=True)
class RegionPods:
    """The pods of a region and the revision of the template that they should be made from.

    ``revision`` is that of the StatefulSet's template, "" while it is not known: its controller has not seen that
    template yet. Then no pod counts as out of date. ``image`` is that of the newest template. ``missing`` are pods that
    the StatefulSet should have, and has not.
    """

    spec: RegionSpec
    seen: RegionObserved
    revision: str
    image: str
    missing: tuple[str, ...] = ()
    behind: bool = False
    """Whether the StatefulSet has not been given the newest template yet, so that all of its pods are out of date."""
    old_volumes: Mapping[str, Claim] = field(default_factory=dict)
    """By pod, the claim that is to be replaced with it. None is while the region would stop without the pod: the others
    are to fill its new volume."""
    unbound: Mapping[str, Claim] = field(default_factory=dict)
    """By pod, the claim that asks for a volume of another class than the newest: it has none."""

    @property
    def name(self) -> str:
        """The region's name."""
        return self.spec.name

    @property
    def outdated(self) -> tuple[Pod, ...]:
        """Pods of another revision or whose volume is to be replaced, also those that are being deleted."""
        return tuple(pod for pod in self.seen.pods if self.is_of_old_template(pod) or self.old_volume(pod) is not None)

    @property
    def updated(self) -> tuple[Pod, ...]:
        """Pods of the newest template whose volumes stay."""
        outdated = self.outdated
        return tuple(pod for pod in self.seen.pods if self.revision and pod not in outdated)

    @property
    def unfinished(self) -> bool:
        """Whether something is left to be done in the region."""
        return self.behind or bool(self.outdated)

    def is_of_old_template(self, pod: Pod) -> bool:
        """Whether the pod was made from an earlier template than the newest."""
        return bool(self.revision) and (self.behind or pod.revision != self.revision)

    def old_volume(self, pod: Pod) -> Claim | None:
        """The claim that is to be replaced with the pod; None when it is to stay."""
        return self.old_volumes.get(pod.name) if self.revision and not self.stops_without_one else None

    @property
    def voters(self) -> frozenset[str]:
        """Replicas that count in the region's Raft group, as its leader reports; empty when it has none."""
        leader = self.seen.leader
        return frozenset(leader.members) - frozenset(leader.learners) if leader is not None else frozenset()

    @property
    def stops_without_one(self) -> bool:
        """Whether no majority is left while one of its replicas is away."""
        count = len(self.voters) or self.spec.replicas
        return count - 1 < majority(count)

    @property
    def restarting(self) -> bool:
        """Whether a pod of it is being replaced."""
        gone = any(pod.terminating for pod in self.outdated)
        starts = any(not pod.ready for pod in self.seen.pods if self.revision and pod.revision == self.revision)
        return gone or bool(self.missing) or starts


def read_region(store: str, spec: RegionSpec, image: str, observed: Observed, *, behind: bool) -> RegionPods:
    """Return the region's pods as they were observed."""
    live = observed.children.get(set_key(store, spec.name))
    return RegionPods(
        spec,
        observed.region(spec.name),
        update_revision(live) if live is not None else "",
        image,
        missing_pods(store, spec.name, observed),
        behind,
        old_volumes(store, spec, observed),
        unbound_of_other_class(store, spec, observed),
    )


def update_revision(live: Body) -> str:
    """Return the revision of a StatefulSet's present template; "" while its status is about an earlier one."""
    meta, status = live["metadata"], live.get("status") or {}
    if meta.get("deletionTimestamp") or int(status.get("observedGeneration") or 0) < int(meta.get("generation") or 0):
        return ""
    return str(status.get("updateRevision") or "")


def disruptions_allowed(budget: Body | None) -> bool:
    """Return whether a PodDisruptionBudget lets a pod be taken down; it does as long as its status is not current."""
    status = (budget or {}).get("status") or {}
    generation = int(((budget or {}).get("metadata") or {}).get("generation") or 0)
    if "disruptionsAllowed" not in status or int(status.get("observedGeneration") or 0) < generation:
        return True
    return int(status["disruptionsAllowed"]) > 0
