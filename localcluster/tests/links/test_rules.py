"""Which rule a link has, and which places a pod is in."""

from __future__ import annotations

from pathlib import Path

import pytest
from localkube.controllers.nodes import DEFAULT_NODES
from localkube.links.rules import (
    ANY,
    HANG,
    MAX_BUFFER_BYTES,
    WHOLE,
    Fault,
    LinkRule,
    RuleError,
    check_places,
    fault_from_json,
    fault_to_json,
    rule_for,
    with_fault,
)
from localkube.links.wiring import Wiring, WiringError, place_of, ports_of

SLOW, CUT = LinkRule(delay_ms=50), LinkRule(cut=HANG)
PLACES = ("us-east", "eu-west", "operator", "api")


def test_the_last_fault_about_a_link_counts_and_each_way_is_a_link():
    faults = [Fault(ANY, ANY, SLOW), Fault("us-east", "eu-west", CUT)]
    assert rule_for(faults, "us-east", "eu-west") == CUT
    assert rule_for(faults, "eu-west", "us-east") == SLOW
    assert rule_for([], "us-east", "eu-west") == WHOLE


def test_a_fault_takes_the_place_of_the_one_before_and_a_whole_link_is_an_exception_to_all():
    once = with_fault((), Fault("us-east", "eu-west", SLOW))
    assert with_fault(once, Fault("us-east", "eu-west", CUT)) == (Fault("us-east", "eu-west", CUT),)
    assert with_fault(once, Fault("us-east", "eu-west", WHOLE)) == ()
    all_slow = with_fault((), Fault(ANY, ANY, SLOW))
    but_one = with_fault(all_slow, Fault("us-east", "eu-west", WHOLE))
    assert rule_for(but_one, "us-east", "eu-west") == WHOLE
    assert rule_for(but_one, "us-east", "operator") == SLOW


@pytest.mark.parametrize(("source", "target"), [("mars", "us-east"), ("us-east", "us-east"), ("us-east", "")])
def test_links_that_there_are_not_are_refused(source: str, target: str):
    with pytest.raises(RuleError):
        check_places(Fault(source, target, CUT), PLACES)


@pytest.mark.parametrize(
    "wrong", [{"delay_ms": -1}, {"delay_ms": 1e9}, {"loss_percent": 100}, {"bytes_per_second": 5}, {"cut": "half"}]
)
def test_rules_that_make_no_sense_are_refused(wrong: dict):
    with pytest.raises(RuleError):
        LinkRule(**wrong)
    with pytest.raises(RuleError):
        fault_from_json({"from": "a", "to": "b", **wrong})


def test_a_fault_comes_back_from_its_file_as_it_was():
    fault = Fault("us-east", ANY, LinkRule(12.5, 3.0, 5000, HANG))
    assert fault_from_json(fault_to_json(fault)) == fault
    with pytest.raises(RuleError):
        fault_from_json({"to": "b"})


def test_what_is_on_its_way_is_bounded_and_holds_a_fast_long_link():
    assert LinkRule(delay_ms=150).buffer_bytes == MAX_BUFFER_BYTES >= 100_000_000 * 0.3
    assert LinkRule(bytes_per_second=1_000_000).buffer_bytes < 500_000


PLACES = {"control": "role=control"}


def pod(*, node: str = "us-east-node", role: str = "", ports: tuple[int, ...] = (2379, 2380)) -> dict:
    labels = {"role": role} if role else {}
    return {
        "metadata": {"name": "p", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"ports": [{"containerPort": port} for port in ports]}]},
    }


def test_a_pod_is_in_the_region_of_its_node_or_where_its_label_says():
    regions = {node.name: node.region for node in DEFAULT_NODES}
    assert place_of(pod(), regions, PLACES) == place_of(pod(role="other"), regions, PLACES) == "us-east"
    assert place_of(pod(role="control"), regions, PLACES) == "control"
    assert place_of(pod(node="unknown"), regions, PLACES) == ""
    assert ports_of(pod(ports=(9, 5, 9))) == (5, 9)


def test_names_and_addresses_lead_to_the_relays_of_the_place_that_asks(tmp_path: Path):
    addresses = iter(f"127.1.192.{number}" for number in range(10, 99))
    wiring = Wiring(tmp_path, DEFAULT_NODES, PLACES, ["127.1.192.1"] * 4, lambda: next(addresses), lambda _: None)
    east = pod() | {"status": {"podIP": "127.1.128.5"}}
    wiring._follow([east])
    table = {"east-0.peers": ["127.1.128.5"], "api": ["127.1.0.1"]}
    assert wiring.names("us-east", table) == table, "in its own region a pod is reached directly"
    seen = wiring.names("eu-west", table)
    relay = seen["east-0.peers"][0]
    assert relay.startswith("127.1.192.")
    assert seen["127.1.128.5"] == [relay], "addresses of pods are dialled, too"
    assert wiring.names("control", table)["east-0.peers"] != [relay], "each place has a relay of its own"
    wiring._follow([])
    assert wiring.names("eu-west", table) == table


@pytest.mark.parametrize("name", ["us-east", "api"])
def test_a_place_has_a_name_of_its_own(tmp_path: Path, name: str):
    with pytest.raises(WiringError, match="the same name"):
        Wiring(tmp_path, DEFAULT_NODES, {name: "a=b"}, ["127.1.192.1"] * 9, lambda: "", lambda _: None)
