"""Which pod template the StatefulSet of a region is given: the newest one from the region's turn in a roll on, before
that the one that it has. So a pod that is lost before comes back as it was, however wrong the newest template is.

The hash of the newest template that a StatefulSet was given is an annotation of it. A restart is not part of the hash:
`kubectl rollout restart` of one StatefulSet is in its template at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rstore_api.domain.kubernetes import RESTARTED_AT, TEMPLATE_HASH

from rstore_operator.facts.lacks import set_key
from rstore_operator.facts.observed import Observed
from rstore_operator.planning.children.compare import covers
from rstore_operator.resource.model import RegionSpec, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.resource.units import parse_time
from rstore_operator.specs.labels import digest, with_hash
from rstore_operator.specs.statefulset import stateful_set

Body = Mapping[str, Any]


def regions_behind(
    ref: StoreRef, spec: StoreSpec, image: ReplicaImage, observed: Observed, asked_at: str
) -> frozenset[str]:
    """Return the regions whose StatefulSets have another template than the newest. ``asked_at`` is when a restart of
    the store was asked for last."""
    behind = set()
    for region in spec.regions:
        live = observed.children.get(set_key(ref.name, region.name))
        if live is not None and not _has_template(live, _newest(ref, spec, region, image, observed, asked_at)):
            behind.add(region.name)
    return frozenset(behind)


def region_set(
    ref: StoreRef,
    spec: StoreSpec,
    region: RegionSpec,
    image: ReplicaImage,
    observed: Observed,
    asked_at: str,
    *,
    keeps_template: bool = False,
) -> dict[str, Any]:
    """Return the StatefulSet of a region, with its hashes. One that ``keeps_template`` has the live one's; all else is
    as the spec wants it."""
    manifest = _newest(ref, spec, region, image, observed, asked_at)
    live = observed.children.get(set_key(ref.name, region.name))
    template = manifest["spec"]["template"]
    template_hash = _hash(template)
    if keeps_template and live is not None:
        template = live["spec"]["template"]
        template_hash = _annotations(live).get(TEMPLATE_HASH, "")
    # What the server adds to the template is not part of the manifest's hash.
    content = {**manifest["spec"], "template": [template_hash, _annotations(template).get(RESTARTED_AT, "")]}
    marks = {TEMPLATE_HASH: template_hash} if template_hash else {}
    hashed = with_hash({**manifest, "metadata": {**manifest["metadata"], "annotations": marks}, "spec": content})
    return {**hashed, "spec": {**manifest["spec"], "template": template}}


def _newest(
    ref: StoreRef, spec: StoreSpec, region: RegionSpec, image: ReplicaImage, observed: Observed, asked_at: str
) -> dict[str, Any]:
    """The StatefulSet with the annotation of the last restart: that of the store, or of `kubectl rollout restart` if it
    is later. One that is made anew around its pods without it would restart them."""
    manifest = stateful_set(ref, spec, region, image)
    live = observed.children.get(set_key(ref.name, region.name))
    if live is None:
        restarted_at = max((pod.restarted_at for pod in observed.region(region.name).pods), default="")
    else:
        restarted_at = _annotations(_template(live)).get(RESTARTED_AT, "")
    restarted_at = later_restart(restarted_at, asked_at)
    if restarted_at:
        manifest["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] = restarted_at
    return manifest


def _has_template(live: Body, newest: Body) -> bool:
    """Whether a StatefulSet was given the newest template. One that an operator made that did not write down the hash
    was if it has all of its fields."""
    template, wanted = _template(live), newest["spec"]["template"]
    if _annotations(template).get(RESTARTED_AT, "") != _annotations(wanted).get(RESTARTED_AT, ""):
        return False
    given = _annotations(live).get(TEMPLATE_HASH)
    return covers(template, wanted) if given is None else given == _hash(wanted)


def _template(live: Body) -> Body:
    return (live.get("spec") or {}).get("template") or {}


def _annotations(body: Body) -> Mapping[str, str]:
    return (body.get("metadata") or {}).get("annotations") or {}


def _hash(template: Body) -> str:
    annotations = {key: value for key, value in _annotations(template).items() if key != RESTARTED_AT}
    return digest({**template, "metadata": {**template["metadata"], "annotations": annotations}})


def later_restart(done_at: str, asked_at: str) -> str:
    """Returns the later of two times in RFC 3339; a request whose time cannot be read is none."""
    asked = _time(asked_at)
    done = _time(done_at)
    return asked_at if asked is not None and (done is None or asked > done) else done_at


def _time(text: str) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None
