"""lease list, show and revoke."""

from __future__ import annotations

import json

import pytest
from rstore_cli import lease
from rstore_cli.errors import UsageError
from unit.cli.conftest import Run
from unit.cli.fakes import FakeReplica

Replicas = dict[str, FakeReplica]


def test_leases_are_listed_by_ids_that_etcdctl_takes(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].leases = {0x7EE5A227: [], -1: []}
    ran = run("lease", "list", "orders")
    assert (ran.code, ran.out.split()) == (0, ["LEASE", "7ee5a227", "f" * 16]), ran.err
    parsed = json.loads(run("lease", "list", "orders", "-o", "json").out)
    assert parsed["leases"] == [{"id": "7ee5a227"}, {"id": "f" * 16}]


def test_a_lease_is_shown_with_its_keys(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].leases = {-1: [b"a", b"b\x00"]}
    ran = run("lease", "show", "orders", "f" * 16)
    assert ran.code == 0, ran.err
    assert [line.strip() for line in ran.out.splitlines()] == ["7 s left of 60 s", "KEY", "a", r"b\x00"]
    parsed = json.loads(run("lease", "show", "orders", "f" * 16, "-o", "json").out)
    assert (parsed["remainingSeconds"], parsed["grantedSeconds"], len(parsed["keys"])) == (7, 60, 2)


def test_a_lease_is_revoked_once(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].leases = {0x7B: []}
    assert run("lease", "revoke", "orders", "7b").out == "OK revision 2\n"
    assert replicas["orders-us-east-0"].leases == {}
    for command in ("revoke", "show"):
        ran = run("lease", command, "orders", "7b")
        assert (ran.code, ran.out) == (1, "")
        assert 'lease "7b" does not exist' in ran.err


@pytest.mark.parametrize("text", ["", "0", "xyz", "-5", "1" + "0" * 16])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        lease.parse(text)


@pytest.mark.parametrize("number", [1, 123, -1, -(2**63), 2**63 - 1])
def test_an_id_is_read_as_it_is_written(number: int) -> None:
    assert lease.parse(lease.written(number)) == number
