"""When it is unknown whether the primary accepts writes: what was seen of each region in, the message out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rstore_operator.facts.observed import Granted, Observed, Pod, RegionObserved, ReplicaStatus
from rstore_operator.facts.truth import Truth
from rstore_operator.planning.conditions.unreached import unreached

TRUTH = Truth(frozenset({"s"}), "us", 5, 5, 5)
LEADER = ReplicaStatus("us-0", "us", "s", True, "us-0", 4, 20, 5, 5, True, True)
FOLLOWER = replace(LEADER, is_leader=False)
RENEWS, RENEWED, OLD = Granted(5, 300, 2700), Granted(5, 2500, 500), Granted(4, 300, 2700)
DELAY_MS = 2000


def primary(*replicas: ReplicaStatus, ready: bool = True, pods: int = 3) -> RegionObserved:
    return RegionObserved("us", tuple(Pod(f"us-{i}", "us", "10.0.0.1", ready) for i in range(pods)), replicas)


def other(name: str, granted: Granted | None) -> RegionObserved:
    return RegionObserved(name, (), (replace(LEADER, region=name, primary=False, granted=granted),))


AWAY = primary()
NOT_READY = primary(ready=False)
TENURE = "does not reach us, but eu still renews its tenure"
PODS = "does not reach us, but its pods are ready"

ROWS: list[tuple[str, RegionObserved, dict[str, Granted | None], str]] = [
    ("it answers", primary(LEADER), {"eu": RENEWS, "ap": RENEWS}, ""),
    ("it elects a leader", primary(FOLLOWER, FOLLOWER), {"eu": RENEWS, "ap": RENEWS}, ""),
    ("others renew", AWAY, {"eu": RENEWS, "ap": RENEWED}, TENURE),
    ("one of its replicas answers", primary(FOLLOWER), {"eu": RENEWS, "ap": RENEWED}, TENURE),
    ("others renew, nodes are lost", NOT_READY, {"eu": RENEWS, "ap": RENEWED}, TENURE),
    ("a majority renews nothing", AWAY, {"eu": RENEWED, "ap": RENEWED}, ""),
    ("a majority renewed another epoch", AWAY, {"eu": OLD, "ap": RENEWED}, ""),
    ("nobody is reached", AWAY, {}, PODS),
    ("nobody is reached, nodes are lost", NOT_READY, {}, ""),
    ("one of two others is reached", AWAY, {"eu": RENEWED}, PODS),
    ("one that has just begun to lead", AWAY, {"eu": None, "ap": RENEWED}, PODS),
]


@pytest.mark.parametrize(("us", "others", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_three_regions(us: RegionObserved, others: dict[str, Granted | None], expected: str) -> None:
    regions = {"us": us, **{name: other(name, granted) for name, granted in others.items()}}
    why = unreached(Observed(regions), TRUTH, ("us", "eu", "ap"), delay_ms=DELAY_MS)
    assert (expected in why) if expected else why == ""


def test_of_two_regions_the_operator_is_a_voter_itself() -> None:
    for granted, expected in ((RENEWS, TENURE), (RENEWED, "")):
        regions = {"us": AWAY, "eu": other("eu", granted)}
        why = unreached(Observed(regions), TRUTH, ("us", "eu"), delay_ms=DELAY_MS)
        assert (expected in why) if expected else why == ""


def test_a_single_region_needs_no_tenure() -> None:
    assert PODS in unreached(Observed({"us": AWAY}), TRUTH, ("us",), delay_ms=DELAY_MS)
    assert unreached(Observed({"us": NOT_READY}), TRUTH, ("us",), delay_ms=DELAY_MS) == ""


def test_a_store_without_a_primary_yet() -> None:
    assert unreached(Observed({"us": AWAY}), Truth(frozenset(), "", 0, 0, 0), ("us",), delay_ms=DELAY_MS) == ""
