"""Whether an operator observes a store now: from the Lease that `.status.operator` names."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from rstore_cli.cluster import Cluster, Object
from rstore_cli.errors import CliError, NotFoundError

FRESH_SECONDS = 10.0
"""A Lease that was renewed less long ago, by this machine's clock, is not looked at twice."""
DEFAULT_DURATION_SECONDS = 4
MORE_SECONDS = 1.0


class Heartbeat:
    """Looks at the Lease of a store's operator. Clocks may differ: one counts as old only if it is seen unchanged."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: tuple[str, float] | None = None

    async def missing(self, store: Object, *, wait: bool = True) -> str:
        """Returns a sentence about since when no operator has observed the store; "" when one does, or when that cannot
        be found out: the store names no operator yet, or its Lease may not be read.

        With ``wait``, a Lease that looks old is looked at again after its duration.
        """
        status = store.get("status") or {}
        claim = status.get("operator") or {}
        if not claim.get("lease"):
            return ""
        while True:
            try:
                lease = await self._cluster.lease(claim["namespace"], claim["lease"])
            except NotFoundError:
                return _sentence(status.get("observedAt"), f"there is no Lease {claim['namespace']}/{claim['lease']}")
            except CliError:
                return ""
            spec = lease.get("spec") or {}
            what = f"the Lease {claim['namespace']}/{claim['lease']}"
            if not spec.get("holderIdentity"):
                return _sentence(spec.get("renewTime"), f"no operator holds {what}")
            duration = int(spec.get("leaseDurationSeconds") or DEFAULT_DURATION_SECONDS) + MORE_SECONDS
            version, now = str(lease["metadata"].get("resourceVersion")), time.monotonic()
            if self._seen is None or self._seen[0] != version:
                renewed = self._seen is not None
                self._seen = (version, now)
                if renewed or _is_fresh(spec.get("renewTime")):
                    return ""
            unchanged = now - self._seen[1]
            if unchanged >= duration:
                return _sentence(spec.get("renewTime"), f"{spec['holderIdentity']} does not renew {what}")
            if not wait or _is_fresh(spec.get("renewTime")):
                return ""
            await asyncio.sleep(duration - unchanged)


def _is_fresh(renewed_at: Any) -> bool:
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(str(renewed_at))).total_seconds()
    except (ValueError, TypeError):
        return False
    return 0 <= age < FRESH_SECONDS


def _sentence(since: Any, why: str) -> str:
    when = f"not observed since {since}" if since else "not observed"
    return f"{when}: {why}; what is shown here is as it was then"
