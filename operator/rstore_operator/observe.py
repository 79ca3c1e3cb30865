"""Joins what the sites show and what the replicas report into one immutable :class:`Observed`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rstore_api.domain import names
from rstore_api.tls import TlsPem

from rstore_operator.cluster.replicas import Replicas
from rstore_operator.cluster.site import Sites
from rstore_operator.facts.observed import ChildKey, Observed, Pod, RegionObserved
from rstore_operator.specs import secrets

Body = Mapping[str, Any]


def operator_credentials(store: str, children: Mapping[ChildKey, Body]) -> TlsPem | None:
    """Returns the operator's certificate for this store; None until it has been issued."""
    live = children.get(("Secret", names.operator_tls_secret(store)))
    parts = [secrets.secret_value(live, name) for name in (secrets.CA_CERT, secrets.TLS_CERT, secrets.TLS_KEY)]
    return TlsPem(*parts) if all(parts) else None


async def observe(
    sites: Sites,
    replicas: Replicas,
    *,
    created_at: str,
    ask: Callable[[Pod], bool],
    patience_seconds: float,
) -> Observed:
    """Returns what there is now. ``created_at`` is the store object's creationTimestamp. ``ask`` picks the replicas
    that are asked anew; they are waited for ``patience_seconds`` at most.
    """
    home = sites.home
    joined = home.children()
    await replicas.use(operator_credentials(home.ref.name, joined.children))
    pods = sites.pods(joined.children, created_at)
    statuses = await replicas.statuses(pods, ask, patience_seconds=patience_seconds)
    regions = {
        region: RegionObserved(
            region,
            tuple(sorted((pod for pod in pods if pod.region == region), key=lambda pod: pod.name)),
            tuple(status for _, status in sorted(statuses.items()) if status.region == region),
        )
        for region in {pod.region for pod in pods}
    }
    return Observed(
        regions=regions,
        children=joined.children,
        foreign=joined.foreign,
        orphans=joined.orphans,
        free=joined.free,
        claims=home.claims(),
        left_behind=sites.left_behind(joined.children, created_at),
        requested_bases=home.requested_bases(),
        elsewhere=sites.elsewhere,
        unanswered_seconds=replicas.unanswered_seconds(),
    )
