"""Fences voters, and grants the tenure as witness."""

from __future__ import annotations

from collections.abc import Callable

from rstore_api.logs import get_logger
from rstore_api.messages import history_of
from rstore_api.methods import ADMIN_FENCE, ADMIN_WITNESS_GRANT
from rstore_api.proto import rstore_pb2 as pb

from rstore_operator.cluster.replicas import Replicas
from rstore_operator.cluster.site import Site
from rstore_operator.facts.actions import Fence, GrantTenure
from rstore_operator.facts.observed import FenceAnswer
from rstore_operator.facts.witness_tenure import CLOCK_MARGIN
from rstore_operator.resource.state_json import status_from_json

log = get_logger(__name__)

FENCE_TIMEOUT_SECONDS = 2.0
GRANT_TIMEOUT_SECONDS = 1.0


async def fence(replicas: Replicas, action: Fence, clock: Callable[[], float]) -> FenceAnswer:
    """Make a region's leader commit the promise of an epoch. Raises StoreError."""
    request = pb.FenceRequest(store_id=action.store_id, epoch=action.epoch)
    answer = await replicas.call(action.target, ADMIN_FENCE, request, timeout_seconds=FENCE_TIMEOUT_SECONDS)
    # The grant runs from some moment before the answer, so counting from now is on the safe side.
    clear_at = clock() + max(0, answer.remaining_grant_ms) / 1000 * CLOCK_MARGIN
    log.info(
        "fenced",
        region=action.region,
        epoch=action.epoch,
        data_epoch=answer.epoch,
        revision=answer.revision,
        remaining_grant_ms=answer.remaining_grant_ms,
    )
    return FenceAnswer(
        action.region,
        action.epoch,
        answer.epoch,
        answer.revision,
        clear_at,
        answer.in_sync_epoch,
        answer.in_sync_regions,
        history_of(answer.history),
    )


async def grant_as_witness(site: Site, replicas: Replicas, action: GrantTenure) -> None:
    """Grant a round of the tenure, unless a higher epoch is promised, or the tenure is longer than `.status` allows.

    Raises StoreError, ApiError.

    The round was offered before this reads the promise, and the tenure counts from the offer. So an operator that
    records a promise after this read waits one tenure from then, however long this process is delayed here.
    """
    body = await site.store()
    meta = body.get("metadata", {})
    status = status_from_json(body.get("status"))
    under_way = status.failover.epoch if status.failover is not None else 0
    if meta.get("uid") != site.ref.uid or max(status.promised_epoch, under_way) > action.epoch or status.promises_lost:
        return
    if status.witness_tenure.grants_ms < action.tenure_ms:
        return  # another operator has recorded a shorter tenure meanwhile
    request = pb.WitnessGrantRequest(store_id=action.store_id, epoch=action.epoch, round=action.round)
    await replicas.call(action.target, ADMIN_WITNESS_GRANT, request, timeout_seconds=GRANT_TIMEOUT_SECONDS)
