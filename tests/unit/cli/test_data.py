"""put, get, del and verify, through a forwarded port to a replica with mutual TLS."""

from __future__ import annotations

import io
import json
import types
from typing import Any

import pytest
import yaml
from rstore_api.domain.hashes import HashAnswer, compare
from rstore_api.errors import FutureRevision, KeyTooLong, NoPrimary, NoSpace, OutcomeUnknown, StoreError, UserEmpty
from rstore_cli.cluster import Pod
from rstore_cli.errors import hint_of
from rstore_cli.verify import judge
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster, FakeReplica

Replicas = dict[str, FakeReplica]


def test_put_writes_to_the_primary_and_prints_the_revision(run: Run, replicas: Replicas) -> None:
    ran = run("put", "orders", "greeting", "hello")
    assert (ran.code, ran.out) == (0, "OK revision 2\n"), ran.err
    assert replicas["orders-us-east-0"].keys == {b"greeting": (b"hello", 2)}
    assert replicas["orders-eu-west-0"].keys == {}


def test_put_reads_the_value_from_standard_input(run: Run, replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"\x00raw\xff")))
    assert run("put", "orders", "binary", "-").code == 0
    assert replicas["orders-us-east-0"].keys[b"binary"][0] == b"\x00raw\xff"


def test_get_shows_the_key_with_its_revision(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].keys[b"a"] = (b"1", 7)
    ran = run("get", "orders", "a")
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()] == [
        ["KEY", "VALUE", "REVISION", "VERSION"],
        ["a", "1", "7", "1"],
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"[bold]x[/bold] [/y] :smile:", "[bold]x[/bold] [/y] :smile:"),
        (b"a\x1b[2Jb\r\n\tc\xff", r"a\x1b[2Jb\r\n\tc\xff"),
        ("grün 豆 \u202e".encode(), r"grün 豆 \u202e"),
    ],
    ids=["markup", "control characters", "what turns text around"],
)
def test_a_value_is_shown_as_it_is_on_one_line(run: Run, replicas: Replicas, value: bytes, shown: str) -> None:
    replicas["orders-us-east-0"].keys[b"a"] = (value, 7)
    ran = run("get", "orders", "a")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2
    assert shown in ran.out.splitlines()[1]


def test_get_of_a_region_asks_that_region(run: Run, replicas: Replicas) -> None:
    replicas["orders-eu-west-0"].keys[b"a"] = (b"there", 7)
    assert "there" in run("get", "orders", "a", "--region=eu-west", "--serializable").out


def test_get_of_an_endpoint_asks_that_endpoint(run: Run, replicas: Replicas, cluster: FakeCluster) -> None:
    replicas["orders-ap-south-0"].keys[b"a"] = (b"direct", 7)
    host, port = cluster.addresses["orders-ap-south-0"]
    assert "direct" in run("get", "orders", "a", f"--endpoint={host}:{port}").out


def test_get_prefix_as_json_and_yaml(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].keys |= {b"k/1": (b"one", 2), b"k/2": (b"\xff", 3), b"other": (b"x", 4)}
    parsed = json.loads(run("get", "orders", "k/", "--prefix", "-o", "json").out)
    assert parsed == yaml.safe_load(run("get", "orders", "k/", "--prefix", "-o", "yaml").out)
    assert [kv["key"] for kv in parsed["kvs"]] == ["k/1", "k/2"]
    assert parsed["kvs"][0]["value"] == "one"
    assert parsed["kvs"][1]["valueBase64"] == "/w=="


def test_get_value_only_prints_the_raw_bytes(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].keys[b"a"] = (b"no newline", 2)
    assert run("get", "orders", "a", "--print-value-only").out == "no newline"


def test_get_of_a_missing_key_fails(run: Run, replicas: Replicas) -> None:
    ran = run("get", "orders", "nothing")
    assert ran.code == 1
    assert 'key "nothing" does not exist' in ran.err


def test_del_prints_how_many_keys_there_were(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].keys |= {b"k/1": (b"one", 2), b"k/2": (b"two", 3), b"other": (b"x", 4)}
    assert run("del", "orders", "k/", "--prefix").out == "deleted 2 revision 2\n"
    assert run("del", "orders", "gone").out == "deleted 0 revision 2\n"
    assert set(replicas["orders-us-east-0"].keys) == {b"other"}


def test_an_unknown_region_is_answered_with_the_regions_there_are(run: Run, replicas: Replicas) -> None:
    ran = run("put", "orders", "a", "b", "--region=mars")
    assert ran.code == 1
    assert 'no region "mars"' in ran.err
    assert "us-east, eu-west, ap-south" in ran.err


def test_no_ready_replica_is_reported_without_a_connection(run: Run, replicas: Replicas, cluster: FakeCluster) -> None:
    cluster.replicas[:] = [Pod(pod.name, pod.region, ready=False) for pod in cluster.replicas]
    ran = run("put", "orders", "a", "b")
    assert ran.code == 1
    assert 'no replica of region "us-east" is ready' in ran.err


def test_a_refused_forward_is_named(run: Run, replicas: Replicas, cluster: FakeCluster) -> None:
    del cluster.addresses["orders-us-east-0"]
    ran = run("put", "orders", "a", "b", "--timeout=1")
    assert ran.code == 1
    assert 'port 2379 of pod "orders-us-east-0": connection refused' in ran.err


def test_the_hint_of_an_unknown_outcome_is_to_read_before_repeating(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].failure = OutcomeUnknown("leadership was lost")
    ran = run("put", "orders", "a", "b")
    assert ran.code == 1
    assert "outcome unknown: leadership was lost" in ran.err
    assert "read the key before you repeat it" in ran.err


def test_a_refusal_of_the_store_is_one_line(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].failure = NoSpace("8 GiB")
    ran = run("put", "orders", "a", "b")
    assert ran.code == 1
    assert ran.err.splitlines()[0] == "error: etcdserver: mvcc: database space exceeded: 8 GiB"


def test_usage_errors_exit_with_2(run: Run, replicas: Replicas) -> None:
    assert run("put", "orders", "only-a-key").code == 2
    assert run("put", "orders", "", "value").code == 2
    assert run("put", "orders", "a", "b", "--endpoint=foo").code == 2
    assert run("get", "orders", "").code == 2
    assert run("del", "orders", "", "--prefix").code == 2
    assert run("put", "orders", "a", "b", "--timeout=0").code == 2


def test_verify_agrees_when_all_hashes_are_equal(run: Run, replicas: Replicas) -> None:
    ran = run("verify", "orders")
    assert ran.code == 0, ran.err
    assert "equal at revision 1" in ran.out
    assert ran.out.count("0000abcd") == 4


def test_verify_names_the_replica_that_differs(run: Run, replicas: Replicas) -> None:
    replicas["orders-eu-west-0"].hash = 1
    ran = run("verify", "orders", "-o", "json")
    assert ran.code == 1
    assert {one["hash"] for one in json.loads(ran.out)["replicas"]} == {"00000001", "0000abcd"}
    assert json.loads(ran.out)["problems"] == [
        "hashes differ at revision 1: eu-west (00000001) against ap-south, us-east (0000abcd)"
    ]


def test_verify_gives_up_on_a_region_that_stays_behind(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].revision = replicas["orders-us-east-1"].revision = 5
    replicas["orders-eu-west-0"].revision = 5
    ran = run("verify", "orders", "--timeout=3")
    assert ran.code == 1
    assert "orders-ap-south-0: has not reached revision 5" in ran.out
    assert "region ap-south: no replica answered" in ran.out


def test_the_verdict_demands_an_answer_of_every_region() -> None:
    one, other = HashAnswer("us-east", "a", 1), HashAnswer("eu-west", "b", 1)
    assert judge(3, [one], ["us-east"], "us-east").ok
    assert judge(3, [one, other], ["us-east", "eu-west"], "us-east").ok
    assert judge(3, [one], ["us-east", "eu-west"], "us-east").problems == ("region eu-west: no replica answered",)
    assert not judge(3, [], ["us-east"], "us-east").ok


def test_the_verdict_is_in_the_words_of_the_condition() -> None:
    found = [HashAnswer("us-east", "a", 1), HashAnswer("eu-west", "b", 2), HashAnswer("ap-south", "c", 1)]
    text = "hashes differ at revision 3: eu-west (00000002) against us-east, ap-south (00000001)"
    assert judge(3, found, ["us-east", "eu-west", "ap-south"], "us-east").problems == (text,)
    verdict = compare(3, found, "us-east")
    assert verdict is not None
    assert verdict.text == text


def test_a_store_that_does_not_exist_is_named_and_not_its_certificate(run: Run, cluster: FakeCluster) -> None:
    ran = run("get", "nothing", "a")
    assert (ran.code, ran.err.splitlines()[0]) == (1, 'error: replicatedstore "nothing" was not found')
    ran = run("get", "orders", "a")
    assert (ran.code, ran.err.splitlines()[0]) == (1, 'error: secret "orders-client-tls" was not found')
    assert "kubectl describe rstore orders" in ran.err


@pytest.mark.parametrize(
    ("security", "arguments", "hint"),
    [
        ({}, ["--client=shop"], "orders has no spec.security.clients"),
        ({"clients": [{"name": "bank"}, {"name": "till"}]}, ["--client=shop"], "the clients of orders are bank, till"),
        (
            {"clients": [{"name": "shop"}]},
            ["--client=shop"],
            "`kubectl describe rstore orders` shows what it waits for",
        ),
        ({"sharedClient": {"mode": "Disabled"}}, [], "spec.security.sharedClient is Disabled"),
    ],
)
def test_why_a_client_has_no_certificate_is_a_hint(
    run: Run, cluster: FakeCluster, security: dict[str, Any], arguments: list[str], hint: str
) -> None:
    cluster.objects["spec"]["security"] = security
    ran = run("get", "orders", "a", *arguments)
    assert ran.code == 1
    assert hint in ran.err


def test_a_client_is_used_by_its_own_certificate(
    run: Run, cluster: FakeCluster, replicas: dict[str, FakeReplica]
) -> None:
    cluster.secrets["orders-client-shop-tls"] = cluster.secrets.pop("orders-client-tls")
    cluster.objects["spec"]["security"] = {"clients": [{"name": "shop"}], "sharedClient": {"mode": "Disabled"}}
    assert run("put", "orders", "a", "1", "--client=shop").code == 0
    assert run("get", "orders", "a", "--client=shop").code == 0
    assert run("put", "orders", "a", "1").code == 1


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (KeyTooLong("600 bytes, the limit is 511"), ""),
        (FutureRevision(), "without --rev"),
        (NoSpace(), "docs/runbook.md"),
        (OutcomeUnknown(), "read the key before you repeat it"),
        (NoPrimary(), "rstore status"),
    ],
)
def test_each_refusal_has_a_hint(error: StoreError, hint: str) -> None:
    assert bool(hint_of(error)) == bool(hint)
    assert hint in hint_of(error)


def test_where_auth_is_on_the_hint_is_how_to_name_a_user(run: Run, replicas: Replicas) -> None:
    replicas["orders-us-east-0"].failure = UserEmpty()
    ran = run("put", "orders", "a", "b")
    assert ran.code == 1
    assert ran.err.splitlines()[0] == "error: etcdserver: user name is empty"
    assert "--client NAME" in ran.err
