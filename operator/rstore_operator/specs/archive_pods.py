"""What the pods of an archiver and of a restorer have in common: where they run, and the volume of a ``file``
destination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rstore_operator.resource.backup import ArchivePlace
from rstore_operator.resource.model import RegionSpec
from rstore_operator.specs.pod_parts import node_terms, placement_of

ARCHIVE_DIRECTORY = "/var/lib/rstore-archive"
"""Where the folder of a ``file`` destination is mounted."""


def anywhere_in(regions: Sequence[RegionSpec]) -> dict[str, Any]:
    """Nodes of the first region, and where there are none, of any other: the pod is needed while that region is lost.
    Of the regions' affinities only what they require of nodes counts.
    """
    placements = [placement_of(region) for region in regions]
    terms = [node_terms(placement) for placement in placements]
    affinity: dict[str, Any] = {}
    if all(terms):
        any_of = [term for of_region in terms for term in of_region]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": any_of}
    if terms[0]:
        preferred = [{"weight": 100, "preference": term} for term in terms[0]]
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    tolerations: list[dict[str, Any]] = []
    for toleration in (dict(each) for placement in placements for each in placement.tolerations or ()):
        if toleration not in tolerations:
            tolerations.append(toleration)
    return {
        **({"affinity": {"nodeAffinity": affinity}} if affinity else {}),
        **({"tolerations": tolerations} if tolerations else {}),
    }


def archive_volume(place: ArchivePlace) -> list[dict[str, Any]]:
    """The volume of a ``file`` destination; none of others."""
    if not place.is_folder:
        return []
    return [{"name": "archive", "persistentVolumeClaim": {"claimName": place.volume_claim}}]


def archive_mount(place: ArchivePlace) -> list[dict[str, Any]]:
    """The mount of the archive's folder in the volume; the kubelet makes a folder that is not there yet."""
    if not place.is_folder:
        return []
    mount = {"name": "archive", "mountPath": ARCHIVE_DIRECTORY}
    return [{**mount, "subPath": place.folder} if place.folder else mount]
