"""The ids in response headers."""

from __future__ import annotations

from rstore_replica.api.identity import stable_id


def test_ids_are_stable_and_never_zero() -> None:
    assert stable_id("orders-us-east-0") == stable_id("orders-us-east-0") != stable_id("orders-us-east-1")
    assert stable_id("") == 0
    assert 0 < stable_id("x") < 2**64
