"""Regions of which nothing is left in the cluster: no StatefulSet, no pod and no claim of a volume.

No process of such a region runs, and none can start with what its replicas have stored. So it is no primary any more,
and grants nothing: once what it granted before has run out, a failover needs no promise of it. A region whose objects
are in another cluster is never taken to be absent: nothing shows whether what is not reachable there still exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rstore_api.domain import names
from rstore_api.domain.limits import MAX_REPLICAS

from rstore_operator.facts.lacks import set_key
from rstore_operator.facts.observed import Observed
from rstore_operator.resource.state import StoreStatus


def absent_since(
    before: Mapping[str, float], store: str, observed: Observed, status: StoreStatus, seconds: float
) -> dict[str, float]:
    """Return since when there has been nothing of each region that votes, or voted, for the primary; ``seconds`` is the
    time of the look."""
    voters = {region for sent in status.sent_topologies for region in sent.regions}
    held = (replica.topology for replica in observed.replicas())
    voters |= {region.name for topology in held if topology is not None for region in topology.regions}
    return {name: before.get(name, seconds) for name in voters if _is_absent(store, name, observed)}


def absent_for(
    since: Mapping[str, float], wanted: Iterable[str], seconds: float, wait_seconds: float
) -> frozenset[str]:
    """Return the regions that are not ``wanted`` any more and have been absent for ``wait_seconds``."""
    return frozenset(name for name, at in since.items() if seconds - at >= wait_seconds) - set(wanted)


def _is_absent(store: str, region: str, observed: Observed) -> bool:
    if region in observed.elsewhere:
        return False
    key, seen = set_key(store, region), observed.region(region)
    exists = any(key in objects for objects in (observed.children, observed.orphans, observed.foreign))
    claims = (names.claim(store, region, ordinal) for ordinal in range(MAX_REPLICAS))
    return not (exists or seen.pods or seen.replicas or any(claim in observed.claims for claim in claims))
