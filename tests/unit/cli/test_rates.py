"""How many writes a second, from looks at a status that changes every few seconds."""

from __future__ import annotations

from typing import Any

from rstore_cli.rates import QUIET_SECONDS, WriteRate


def status(revision: int, epoch: int = 1) -> dict[str, Any]:
    return {"primaryRegion": "a", "epoch": epoch, "regions": [{"name": "b"}, {"name": "a", "revision": revision}]}


def test_the_rate_is_that_between_two_changes() -> None:
    rate = WriteRate()
    assert rate.look(status(10), 0.0) is None
    assert rate.look(status(10), 1.0) is None
    assert rate.look(status(60), 5.0) == 10.0
    assert rate.look(status(60), 9.0) == 10.0, "the status is not written more often"
    assert rate.look(status(160), 10.0) == 20.0


def test_a_store_that_nobody_writes_to_has_none() -> None:
    rate = WriteRate()
    rate.look(status(10), 0.0)
    rate.look(status(20), 1.0)
    assert rate.look(status(20), 1.5 + QUIET_SECONDS) == 0.0


def test_the_jump_of_a_new_epoch_is_no_rate() -> None:
    rate = WriteRate()
    rate.look(status(10), 0.0)
    assert rate.look(status(20), 1.0) == 10.0
    assert rate.look(status(1_000_000_021, epoch=2), 2.0) is None
    assert rate.look(status(1_000_000_026, epoch=2), 3.0) == 5.0


def test_what_is_not_known_changes_nothing() -> None:
    rate = WriteRate()
    assert rate.look({}, 0.0) is None
