"""A failover that was begun and is not on record any more, since the status was lost or restored meanwhile. Pure."""

from __future__ import annotations

from datetime import datetime

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth
from rstore_operator.failover.voting import Electorate


def unfinished(
    truth: Truth, observed: Observed, memory: Memory, voters: Electorate, *, delay_ms: int, now: datetime
) -> str:
    """Why the present epoch cannot go on though no change of primary is on record; "" when that is not so.

    A region that has promised a higher epoch grants the primary nothing and takes nothing from it. One that does not
    answer may be primary of that epoch: it counts as lost after the failover delay.
    """
    leaders = {name: observed.leader(name) for name in sorted(voters.regions)}
    above = [name for name, leader in leaders.items() if leader is not None and leader.promised_epoch > truth.epoch]
    for name in (name for name, leader in leaders.items() if leader is None):
        since = memory.silent_since.get(name)
        if since is None or (now - since).total_seconds() * 1000 < delay_ms:
            return ""
    if not above:
        return ""
    return f"{', '.join(above)} promised an epoch above {truth.epoch}, and no change of primary was on record"
