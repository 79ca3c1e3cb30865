"""The ids in response headers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from rstore_api.proto.rpc_pb2 import ResponseHeader
from rstore_replica.api.identity import Identity, member_id, stable_id
from unit.api.replica_fakes import NAMES, FakeGroup, region_state


def test_ids_are_stable_and_never_zero() -> None:
    assert stable_id("orders-us-east-0") == stable_id("orders-us-east-0") != stable_id("orders-us-east-1")
    assert stable_id("") == 0
    assert 0 < stable_id("x") < 2**64


def test_a_member_is_one_of_its_store_and_region() -> None:
    ids = {
        member_id("store", "us-east", NAMES[0]),
        member_id("store", "us-east", NAMES[1]),
        member_id("store", "eu-west", NAMES[0]),
        member_id("other", "us-east", NAMES[0]),
    }
    assert len(ids) == 4
    assert member_id("store", "us-east", "") == 0


def test_headers_have_the_ids_of_the_store_as_soon_as_there_is_one() -> None:
    machine: Any = SimpleNamespace(state=region_state(store_id=""))
    identity = Identity(region="us-east", replica=NAMES[0], machine=machine, group=FakeGroup())
    header = ResponseHeader()
    identity.fill(header, revision=1)
    assert header.cluster_id == 0
    machine.state = region_state()
    identity.fill(header, revision=7)
    assert header.cluster_id == identity.cluster_id == stable_id("store")
    assert header.member_id == identity.member_id == identity.id_of(NAMES[0]) == member_id("store", "us-east", NAMES[0])
    assert (header.revision, header.raft_term) == (7, 3)
    assert identity.id_of(None) == 0
