"""rstore quarantine: list, show, diff, replay and drop, through forwarded ports to replicas with mutual TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import yaml
from rstore_api.errors import NoSpace
from rstore_cli.cluster import Pod
from unit.cli.conftest import Run
from unit.cli.fakes import Authority, FakeCluster, serve, store_object
from unit.cli.quarantine.fakes import FORK, FakeTail, QuarantineReplica, delete, put

NEW = 1_000_000_100


@dataclass
class Store:
    """eu-west is primary; us-east came back and left a tail, which both of its replicas hold."""

    primary: QuarantineReplica
    first: QuarantineReplica
    second: QuarantineReplica
    tail: FakeTail

    @property
    def keys(self) -> dict[bytes, tuple[bytes, int]]:
        return self.primary.keys


@pytest.fixture
def store(cluster: FakeCluster) -> Iterator[Store]:
    authority = Authority()
    cluster.objects = store_object(primaryRegion="eu-west", storeId="s1")
    cluster.secrets["orders-client-tls"] = cluster.secrets["orders-operator-tls"] = authority.secret()
    rows = [
        put(11, b"fresh", b"1"),  # nobody has it
        put(12, b"same", b"as now"),
        put(13, b"untouched", b"tail", created=5),
        put(14, b"written", b"tail", created=5),
        put(15, b"gone", b"tail", created=5),
        put(16, b"fresh", b"2", created=11),
        delete(17, b"removed"),
        put(18, b"\xff", b"\xfe"),
    ]
    tail = FakeTail("us-east", "1-11-18.wal", rows)
    made = Store(
        QuarantineReplica(FakeTail("eu-west", "", [], dropped=True)),
        QuarantineReplica(tail),
        QuarantineReplica(tail, leader=True),
        tail,
    )
    made.keys.update(
        {
            b"same": (b"as now", NEW),
            b"untouched": (b"old", FORK),
            b"written": (b"new", NEW),
            b"removed": (b"old", FORK - 1),
        }
    )
    made.primary.revision = NEW
    with ExitStack() as stack:
        for pod, region, replica in (
            ("orders-eu-west-0", "eu-west", made.primary),
            ("orders-us-east-0", "us-east", made.first),
            ("orders-us-east-1", "us-east", made.second),
        ):
            cluster.addresses[pod] = stack.enter_context(serve(replica, authority))
            cluster.replicas.append(Pod(pod, region, ready=True))
        yield made


def results(out: str) -> dict[str, str]:
    return {one.get("key") or one["keyBase64"]: one["result"] for one in json.loads(out)["keys"]}


def test_list_shows_each_tail_and_the_replicas_that_have_it(run: Run, store: Store) -> None:
    ran = run("quarantine", "list", "orders")
    assert ran.code == 0, ran.err
    header, line = ran.out.splitlines()
    assert header.split()[0] == "TAIL"
    expected = "us-east/1-11-18 1 11 18 8 8 2KiB 2 orders-us-east-0, orders-us-east-1"
    assert line.split() == expected.split()
    parsed = json.loads(run("quarantine", "list", "orders", "-o", "json").out)
    assert parsed == yaml.safe_load(run("quarantine", "list", "orders", "-o", "yaml").out)
    assert (parsed["tails"][0]["revisions"], parsed["problems"]) == (8, [])


def test_list_names_replicas_that_did_not_answer_or_lack_a_file(run: Run, store: Store, cluster: FakeCluster) -> None:
    store.first.holds = False
    cluster.replicas.append(Pod("orders-us-east-2", "us-east", ready=False))
    out = run("quarantine", "list", "orders").out
    assert "orders-us-east-2: not ready" in out
    assert "us-east/1-11-18 is not on orders-us-east-0 yet" in out
    store.tail.dropped = True
    assert run("quarantine", "list", "orders").out.startswith("no tails in quarantine\n")
    cluster.replicas[:] = [Pod(pod.name, pod.region, ready=False) for pod in cluster.replicas]
    assert run("quarantine", "list", "orders").code == 1


def test_status_names_the_command_to_look_at_a_tail(run: Run, store: Store, cluster: FakeCluster) -> None:
    assert "quarantine" not in run("status", "orders").out
    cluster.objects["status"]["regions"][0]["quarantine"] = {"tails": 2, "rows": 12, "bytes": 100}
    out = run("status", "orders").out
    assert "us-east: keeps 12 changes of its own in quarantine (2 tails): `rstore quarantine list orders`" in out


def test_show_prints_rows_in_order(run: Run, store: Store) -> None:
    ran = run("quarantine", "show", "orders", "us-east/1-11-18")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert len(lines) == 9
    assert lines[1].split() == ["11", "put", "fresh", "=", "1"]
    assert lines[7].split() == ["17", "delete", "removed"]
    assert store.first.reads == [0, 2, 4, 6]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_show_is_one_document(run: Run, store: Store, form: str) -> None:
    ran = run("quarantine", "show", "orders", "1-11-18.wal", "-o", form)
    rows = json.loads(ran.out) if form == "json" else yaml.safe_load(ran.out)
    assert [row["revision"] for row in rows] == list(range(11, 19))
    assert (rows[6]["change"], rows[7]["keyBase64"], rows[7]["valueBase64"]) == ("delete", "/w==", "/g==")
    nothing = run("quarantine", "show", "orders", "1-11-18", "--key=none", "-o", form).out
    assert (json.loads(nothing) if form == "json" else yaml.safe_load(nothing)) == []


def test_show_of_a_key_a_prefix_and_a_few(run: Run, store: Store) -> None:
    assert run("quarantine", "show", "orders", "1-11-18", "--key=fresh").out.count("fresh = ") == 2
    assert run("quarantine", "show", "orders", "1-11-18", "--prefix=un").out.count("untouched = ") == 1
    assert len(run("quarantine", "show", "orders", "1-11-18", "--limit=3").out.splitlines()) == 4
    assert run("quarantine", "show", "orders", "1-11-18", "--key=a", "--prefix=b").code == 2


def test_a_damaged_file_is_read_on_from_another_replica(run: Run, store: Store) -> None:
    store.first.damaged_at = 4
    ran = run("quarantine", "show", "orders", "1-11-18")
    assert (ran.code, len(ran.out.splitlines())) == (0, 9)
    assert (store.first.reads, store.second.reads) == ([0, 2, 4], [4, 6])
    store.second.damaged_at = 6
    ran = run("quarantine", "show", "orders", "1-11-18")
    assert ran.code == 1
    assert "1-11-18.wal is damaged at offset 6" in ran.err
    assert "hint: `rstore quarantine list orders`" in ran.err


def test_an_unknown_tail_is_an_error_with_a_hint(run: Run, store: Store) -> None:
    for command in (["show"], ["diff"], ["replay", "--all"]):
        ran = run("quarantine", command[0], "orders", "9-9-9", *command[1:])
        assert ran.code == 1
        assert 'has no tail "9-9-9"' in ran.err
        assert "rstore quarantine list orders" in ran.err


def test_diff_shows_the_verdict_of_each_key(run: Run, store: Store) -> None:
    ran = run("quarantine", "diff", "orders", "1-11-18", "-o", "json")
    assert ran.code == 0, ran.err
    parsed = json.loads(ran.out)
    assert {one.get("key") or one["keyBase64"]: one["verdict"] for one in parsed["keys"]} == {
        "same": "same",
        "untouched": "unchanged",
        "written": "changed",
        "gone": "deleted",
        "fresh": "absent",
        "removed": "unchanged",
        "/w==": "absent",
    }
    fresh = next(one for one in parsed["keys"] if one.get("key") == "fresh")
    assert fresh["tail"] == {"revision": 16, "rows": 2, "value": "2"}
    assert parsed["counts"] == {"absent": 2, "changed": 1, "deleted": 1, "same": 1, "unchanged": 2}
    assert "1 changed" in run("quarantine", "diff", "orders", "1-11-18", "--key=written").out


def test_replay_of_a_key_writes_that_key(run: Run, store: Store) -> None:
    ran = run("quarantine", "replay", "orders", "us-east/1-11-18", "--key=fresh")
    assert ran.code == 0, ran.err
    assert store.keys[b"fresh"] == (b"2", NEW + 1)
    assert ran.out.splitlines()[1].split() == ["fresh", "put", str(NEW + 1)]
    assert b"gone" not in store.keys


def test_replay_of_all_leaves_later_writes_alone_and_may_be_repeated(run: Run, store: Store) -> None:
    ran = run("quarantine", "replay", "orders", "1-11-18", "--all", "-o", "json")
    assert ran.code == 1
    assert "they have been written meanwhile: 2 of " in ran.err
    assert "--overwrite" in ran.err
    assert results(ran.out) == {
        "same": "same",
        "untouched": "put",
        "written": "conflict",
        "gone": "conflict",
        "fresh": "put",
        "removed": "deletion",
        "/w==": "put",
    }
    assert store.keys[b"written"] == (b"new", NEW)
    assert store.primary.revision == NEW + 3
    again = results(run("quarantine", "replay", "orders", "1-11-18", "--all", "-o", "json").out)
    assert set(again.values()) == {"same", "conflict", "deletion"}
    assert store.primary.revision == NEW + 3


def test_replay_overwrites_and_deletes_with_its_options(run: Run, store: Store) -> None:
    dry = run("quarantine", "replay", "orders", "1-11-18", "--all", "--overwrite", "--include-deletes", "--dry-run")
    assert dry.code == 0, dry.err
    assert "5 would put" in dry.out
    assert store.primary.revision == NEW
    ran = run("quarantine", "replay", "orders", "1-11-18", "--all", "--overwrite", "--include-deletes")
    assert ran.code == 0, ran.err
    assert {key: value for key, (value, _) in store.keys.items()} == {
        b"same": b"as now",
        b"untouched": b"tail",
        b"written": b"tail",
        b"gone": b"tail",
        b"fresh": b"2",
        b"\xff": b"\xfe",
    }


def test_replay_never_undoes_a_write_that_came_at_the_same_moment(run: Run, store: Store) -> None:
    store.primary.before_txn = lambda: store.keys.update({b"untouched": (b"just now", NEW + 50)})
    ran = run("quarantine", "replay", "orders", "1-11-18", "--key=untouched")
    assert ran.code == 1
    assert "written by another client" in ran.out
    assert store.keys[b"untouched"] == (b"just now", NEW + 50)


def test_a_replay_that_ends_early_reports_what_it_wrote(run: Run, store: Store) -> None:
    writes = 0

    def fail_from_the_second_on() -> None:
        nonlocal writes
        writes += 1
        store.primary.failure = NoSpace("full") if writes > 1 else None

    store.primary.before_txn = fail_from_the_second_on
    ran = run("quarantine", "replay", "orders", "1-11-18", "--all", "-o", "json")
    assert ran.code == 1
    assert "it ended early: etcdserver: mvcc: database space exceeded: full" in ran.err
    assert "hint: repeat it" in ran.err
    assert sum(result == "put" for result in results(ran.out).values()) == 1
    store.primary.before_txn = store.primary.failure = None
    ran = run("quarantine", "replay", "orders", "1-11-18", "--all", "-o", "json")
    assert store.keys[b"fresh"][0] == b"2"
    assert sum(result == "put" for result in results(ran.out).values()) == 2


def test_replay_without_keys_is_a_usage_error(run: Run, store: Store) -> None:
    assert run("quarantine", "replay", "orders", "1-11-18").code == 2
    assert run("quarantine", "replay", "orders", "1-11-18", "--all", "--key=fresh").code == 2
    ran = run("quarantine", "replay", "orders", "1-11-18", "--key=fresh", "--key=nowhere")
    assert ran.code == 1
    assert "not in the tail: nowhere" in ran.err
    assert store.keys[b"fresh"][0] == b"2"


def test_drop_asks_the_leader_and_may_be_repeated(run: Run, store: Store) -> None:
    ran = run("quarantine", "drop", "orders", "1-11-18")
    assert ran.code == 2
    assert "1 tails with 8 rows that exist nowhere else" in ran.err
    assert not store.tail.dropped
    ran = run("quarantine", "drop", "orders", "us-east/1-11-18", "--yes")
    assert (ran.code, ran.out) == (0, "us-east/1-11-18: dropped\n"), ran.err
    assert store.tail.dropped
    assert run("quarantine", "drop", "orders", "1-11-18", "--yes").out == "1-11-18: not there\n"
    ran = run("quarantine", "drop", "orders", "1-11-18")
    assert (ran.code, ran.out) == (0, "1-11-18: not there\n"), "nothing would be deleted, so nothing is to be confirmed"


def test_drop_without_a_leader_is_an_error(run: Run, store: Store) -> None:
    store.second.leader = False
    ran = run("quarantine", "drop", "orders", "1-11-18", "--yes")
    assert ran.code == 1
    assert "only the leader of us-east can" in ran.err


def test_the_operators_certificate_is_needed(run: Run, store: Store, cluster: FakeCluster) -> None:
    del cluster.secrets["orders-operator-tls"]
    ran = run("quarantine", "list", "orders")
    assert ran.code == 1
    assert 'secret "orders-operator-tls"' in ran.err
