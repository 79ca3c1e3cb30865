"""The write gap in a receipt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rstore_operator.failover.planned import receipt_of
from rstore_operator.resource.state import FailoverIntent, Step, StepTime, Trigger

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("promoted_after", "gap"), [(1.5, 1.5), (-0.7, 0.0)])
def test_the_gap_is_never_below_zero_though_operators_disagree_about_the_time(
    promoted_after: float, gap: float
) -> None:
    promoted_at = START + timedelta(seconds=promoted_after)
    intent = FailoverIntent(
        trigger=Trigger.ANNOTATION,
        from_region="east",
        to_region="west",
        from_epoch=1,
        epoch=2,
        step=Step.REPOINTING,
        started_at=START,
        steps=(StepTime(Step.REPOINTING, promoted_at),),
    )
    assert receipt_of(intent, promoted_at).write_gap_seconds == gap
