"""A primary region that the operator does not reach and that may well accept writes: nobody knows whether it does."""

from __future__ import annotations

from collections.abc import Collection

from rstore_api.domain.voters import WITNESS, majority, voters

from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth

NOT_REACHED = "NotReached"
"""Reason of the condition Ready."""


def unreached(observed: Observed, truth: Truth, regions: Collection[str], *, delay_ms: int) -> str:
    """Returns why it is unknown whether the primary region accepts writes; "" when it is known.

    It is unknown while another region has renewed the primary's tenure within ``delay_ms``, and while Kubernetes shows
    ready pods of a region that does not answer, unless a majority of the voters has renewed nothing for so long. A
    region of which a majority of the replicas answers is reached, and only lacks a leader.
    """
    primary = truth.primary_region
    seen = observed.region(primary)
    if not primary or seen.leader is not None or len(seen.replicas) > len(seen.pods) // 2:
        return ""
    renewing, silent = set(), {WITNESS}  # the operator as witness grants only to a leader that answers
    for name in set(regions) - {primary}:
        leader = observed.leader(name)
        granted = leader.granted if leader is not None else None
        if granted is not None and granted.epoch >= truth.epoch and granted.age_ms < delay_ms:
            renewing.add(name)
        elif granted is not None:
            silent.add(name)
    if renewing:
        still = ", ".join(sorted(renewing))
        return f"the operator does not reach {primary}, but {still} still renews its tenure: it may accept writes"
    board = voters(regions)
    if seen.ready_pods and not (board and len(board & silent) >= majority(len(board))):
        return f"the operator does not reach {primary}, but its pods are ready: it may accept writes"
    return ""
