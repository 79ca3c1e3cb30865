"""Volumes grow in place when the spec asks for larger ones, and replicas to come get volumes as the spec wants them.

Two things follow from what is seen, whatever was done before, so a crash between them changes nothing: a claim that is
smaller than wanted is asked to grow, and a StatefulSet whose claim template is smaller, or of another StorageClass, is
made anew around its pods (the template cannot be changed), with the newest template of its pods, so from the region's
turn in a roll on. Nothing ever shrinks: claims that a person has made larger,
and a template that is larger than the spec, are left alone. Volumes of another class are replaced with their pods, see
:mod:`rstore_operator.planning.moving`; they do not grow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from rstore_api.domain import names

from rstore_operator.facts.actions import GrowClaim, Orphan
from rstore_operator.facts.observed import ChildKey, Claim, Observed
from rstore_operator.planning.moving import is_of_other_class, template_class
from rstore_operator.planning.scaling.effective import Effective
from rstore_operator.resource.model import RegionSpec, StoreRef, StoreSpec
from rstore_operator.resource.units import parse_quantity

NOT_GROWN = "VolumesNotGrown"


@dataclass(frozen=True)
class VolumesPlan:
    """What to do. ``spec`` has the sizes and classes that the StatefulSets can have now; those in ``remade`` are left
    alone until they are gone. ``growing`` says what goes on, for people."""

    spec: StoreSpec
    actions: tuple[GrowClaim | Orphan, ...] = ()
    remade: frozenset[ChildKey] = frozenset()
    growing: str = ""
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Region:
    """What to do in one region."""

    spec: RegionSpec
    actions: tuple[GrowClaim | Orphan, ...]
    remade: ChildKey | None
    growing: str
    refused: str


def plan_volumes(
    ref: StoreRef, effective: Effective, observed: Observed, keep_template: Collection[str] = ()
) -> VolumesPlan:
    """Look at every region's claims and at its StatefulSet, which is not made anew in the regions in
    ``keep_template``."""
    stays = {*keep_template, *(name for name, _ in effective.scaling)}
    regions = [_region(ref, region, observed, stays=region.name in stays) for region in effective.spec.regions]
    refused = "; ".join(region.refused for region in regions if region.refused)
    text = (
        f"these volumes cannot grow: {refused}. New replicas get the new size; let the StorageClass expand volumes, or "
        "replace one volume after the other"
    )
    return VolumesPlan(
        spec=replace(effective.spec, regions=tuple(region.spec for region in regions)),
        actions=tuple(action for region in regions for action in region.actions),
        remade=frozenset(region.remade for region in regions if region.remade is not None),
        growing="; ".join(region.growing for region in regions if region.growing),
        problems=((NOT_GROWN, text),) if refused else (),
    )


def _region(ref: StoreRef, region: RegionSpec, observed: Observed, *, stays: bool) -> _Region:
    wanted = _size(region.storage_size)
    staying = [claim for claim in _claims(ref, region, observed) if not is_of_other_class(claim, region)]
    smaller = [claim for claim in staying if _size(claim.capacity or claim.requested) < wanted]
    refused = [claim for claim in smaller if claim.refusal]
    actions: list[GrowClaim | Orphan] = [
        GrowClaim(claim.name, region.storage_size, claim.resource_version)
        for claim in smaller
        if claim.bound and not claim.refusal and _size(claim.requested) < wanted
    ]
    key = ("StatefulSet", names.region_object(ref.name, region.name))
    live = observed.children.get(key)
    template = _template_size(live)
    of_class = template_class(ref.name, region.name, observed)
    too_small = bool(template) and _size(template) < wanted
    outdated = too_small or (bool(template) and of_class != region.storage_class)
    remade = outdated and not stays  # one change at a time; claims of replicas that come meanwhile are asked to grow
    if live is not None and remade and not live["metadata"].get("deletionTimestamp"):
        actions.append(Orphan(key, live["metadata"].get("uid", "")))
    growing = [_describe(claim) for claim in smaller if not claim.refusal]
    growing += ["the StatefulSet is made anew around its pods"] if too_small and remade else []
    return _Region(
        spec=replace(region, storage_size=template, storage_class=of_class) if template and not remade else region,
        actions=tuple(actions),
        remade=key if remade else None,
        growing=f"{region.name}: {region.storage_size} wanted; {', '.join(growing)}" if growing else "",
        refused=(
            f"{region.name}: {region.storage_size} wanted; "
            + "; ".join(f"{claim.name} has {claim.requested}: {claim.refusal}" for claim in refused)
            if refused
            else ""
        ),
    )


def _claims(ref: StoreRef, region: RegionSpec, observed: Observed) -> Iterator[Claim]:
    """Claims of replicas that run or are about to; those of replicas that were taken away stay as they are."""
    for ordinal in range(region.replicas):
        claim = observed.claims.get(names.claim(ref.name, region.name, ordinal))
        if claim is not None and not claim.terminating:
            yield claim


def _template_size(live: Mapping[str, Any] | None) -> str:
    templates = ((live or {}).get("spec") or {}).get("volumeClaimTemplates") or []
    requests = (templates[0].get("spec") or {}).get("resources", {}).get("requests", {}) if templates else {}
    return str(requests.get("storage", ""))


def _size(text: str) -> Decimal:
    try:
        return parse_quantity(text)
    except ValueError:
        return Decimal(0)


def _describe(claim: Claim) -> str:
    if not claim.bound:
        return f"{claim.name} is not bound"
    state = f" ({claim.message})" if claim.message else ""
    return f"{claim.name} has {claim.capacity or claim.requested}{state}"
