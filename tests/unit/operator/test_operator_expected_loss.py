"""What a failover would lose, in revisions that exist."""

from __future__ import annotations

import pytest
from rstore_operator.failover.choice import REVISION_JUMP, Rules
from rstore_operator.failover.loss_gate import expected_loss
from rstore_operator.failover.voting import electorate
from rstore_operator.planning.observed import FenceAnswer, Observed


@pytest.mark.parametrize(
    ("last_known", "held", "lost"),
    [
        (120, 100, 20),
        (100, 100, 0),
        (REVISION_JUMP + 100, 100, 0),  # the old primary began its epoch and wrote nothing
        (2 * REVISION_JUMP + 107, REVISION_JUMP + 100, 7),
        (0, 100, None),
    ],
)
def test_revisions_that_were_left_out_are_not_lost(last_known: int, held: int, lost: int | None) -> None:
    target = FenceAnswer("west", epoch=3, data_epoch=1, revision=held, clear_at_seconds=0.0)
    rules, voters = Rules({}, 3000), electorate(Observed(), ("east", "west"))
    loss = expected_loss("east", 2, last_known, target, [target], Observed(), voters, rules, final=False)
    assert loss.revisions == lost
