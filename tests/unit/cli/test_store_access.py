"""Which user a command is, and how it says so."""

from __future__ import annotations

import pytest
from rstore_api.client import User
from rstore_api.proto import kv_pb2, rpc_pb2
from rstore_cli.errors import UsageError
from rstore_cli.store_access import user_of
from unit.cli.conftest import Run
from unit.cli.fakes import FakeReplica

Replicas = dict[str, FakeReplica]
PRIMARY = "orders-us-east-0"
COMMANDS = [
    ("put", "orders", "k", "v"),
    ("get", "orders", "k", "--prefix"),
    ("del", "orders", "k"),
    ("lease", "list", "orders"),
    ("watch", "orders", "k", "--limit=1", "--from-revision=1"),
]


def ask(name: str) -> str:
    return f"asked of {name}"


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        ("", "", None),
        ("shop:secret", "", User("shop", "secret")),
        ("shop:a:b", "", User("shop", "a:b")),
        ("shop:", "", User("shop", "")),
        ("shop", "secret", User("shop", "secret")),
        ("shop:x", "secret", User("shop:x", "secret")),
        ("shop", "", User("shop", "asked of shop")),
    ],
)
def test_a_user_is_named_as_for_etcdctl(user: str, password: str, expected: User | None) -> None:
    assert user_of(user, password, ask=ask) == expected


@pytest.mark.parametrize(("user", "password"), [("", "secret"), (":secret", "")])
def test_a_password_without_a_user_is_refused(user: str, password: str) -> None:
    with pytest.raises(UsageError, match="--user"):
        user_of(user, password, ask=ask)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_commands_authenticate(run: Run, replicas: Replicas, command: tuple[str, ...]) -> None:
    replica = replicas[PRIMARY]
    replica.keys[b"k"] = (b"v", 1)
    replica.shown = [rpc_pb2.WatchResponse(events=[kv_pb2.Event(kv=kv_pb2.KeyValue(key=b"k", mod_revision=2))])]
    replica.passwords = {"shop": "secret"}
    ran = run(*command, "--user=shop:secret")
    assert (ran.code, ran.err) == (0, "")
    assert replica.users == ["shop"]
    ran = run(*command)
    assert ran.code == 1
    assert "--user NAME" in ran.err


def test_the_environment_names_the_user(run: Run, replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = replicas[PRIMARY]
    replica.passwords = {"shop": "secret"}
    monkeypatch.setenv("RSTORE_USER", "shop")
    monkeypatch.setenv("RSTORE_PASSWORD", "secret")
    assert run("put", "orders", "k", "v").code == 0
    assert replica.users == ["shop"]


def test_a_wrong_password_and_one_that_nobody_can_be_asked_for(run: Run, replicas: Replicas) -> None:
    replicas[PRIMARY].passwords = {"shop": "secret"}
    ran = run("put", "orders", "k", "v", "--user=shop:wrong")
    assert ran.code == 1
    assert "RSTORE_PASSWORD" in ran.err
    ran = run("put", "orders", "k", "v", "--user=shop")
    assert ran.code == 2
    assert "the password of user shop is required" in ran.err
    assert replicas[PRIMARY].keys == {}


def test_verify_authenticates_with_every_replica(run: Run, replicas: Replicas) -> None:
    for replica in replicas.values():
        replica.passwords = {"root": "secret"}
    ran = run("verify", "orders", "--user=root:secret")
    assert ran.code == 0, ran.err
    assert all(replica.users for replica in replicas.values())
