"""`rstore restore` and `rstore backup` with an archive in a folder, and a store that runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from etcd.servers import Server, running_store
from rstore_api import methods
from rstore_api.client import Client, User
from rstore_api.domain.epochs import REVISION_JUMP
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.rstore_pb2 import AuthRole, AuthSwitch, AuthUser
from rstore_backup.errors import AccessRefused
from unit.backup.archives import STORE_ID
from unit.backup.restoring.histories import Archived, State, Stored, random_history
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster

ALL = rpc.RangeRequest(key=b"\0", range_end=b"\0")


def write_archive(archived: Archived, folder: Path) -> str:
    """Puts an archive into a folder; returns its destination."""
    for name, data in archived.store.objects.items():
        path = folder / STORE_ID / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return f"file://{folder}"


@pytest.fixture(scope="module")
def archived() -> Archived:
    """With failovers, a tail that was lost, and bases."""
    return random_history(4, 150)


@pytest.fixture
def destination(archived: Archived, tmp_path: Path) -> str:
    return write_archive(archived, tmp_path / "archive")


@pytest.fixture
def users() -> list[User | None]:
    """The last one is that of the commands."""
    return [None]


@pytest.fixture
def as_user(users: list[User | None]) -> Callable[[User | None], None]:
    return users.append


@pytest.fixture
def store(
    users: list[User | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster
) -> Iterator[Server]:
    """A store of one replica, which is ``orders`` of the cluster."""
    with running_store(tmp_path / "store") as server:

        @asynccontextmanager
        async def open_it(*_: Any, **named: Any) -> Any:
            assert server.files is not None
            address = server.address.removeprefix("https://")
            files, user = server.files.read(), users[-1]
            async with Client([address], tls=files, server_name="localhost", user=user) as client:
                yield client

        monkeypatch.setattr("rstore_cli.store_access.open_store", open_it)
        yield server


def stored(server: Server) -> dict[bytes, Stored]:
    kvs = server.call(methods.RANGE, ALL).message.kvs
    return {kv.key: Stored(kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in kvs}


def leases(server: Server) -> dict[int, int]:
    ids = [lease.ID for lease in server.call(methods.LEASE_LEASES, rpc.LeaseLeasesRequest()).message.leases]
    answers = [server.call(methods.LEASE_TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=each)) for each in ids]
    return {answer.message.ID: answer.message.grantedTTL for answer in answers}


def some_state(archived: Archived) -> tuple[int, State]:
    """A revision in the middle of the newest line with many keys."""
    line = archived.states[archived.epoch]
    revision = max((each for each in line if each < archived.revision), key=lambda each: len(line[each].keys))
    return revision, line[revision]


def test_a_past_revision_fills_an_empty_store(archived: Archived, destination: str, store: Server, run: Run) -> None:
    revision, state = some_state(archived)
    done = run("restore", "orders", "--from-archive", destination, "--at", str(revision))
    assert done.code == 0, done.err
    assert f"{len(state.keys)} keys and {len(state.leases)} leases of default/orders ({STORE_ID}) at" in done.out
    assert "compared key by key" in done.out
    assert stored(store) == {key: each._replace(sub=0) for key, each in state.keys.items()}
    assert leases(store) == state.leases
    newest = max(header.last_revision for header in archived.headers)
    assert store.revision == newest + REVISION_JUMP
    assert store.put(b"next") == newest + REVISION_JUMP + 1
    refused = run("restore", "orders", "--from-archive", destination)
    assert refused.code == 1
    assert "nothing was written" in refused.err


def test_a_store_in_use_becomes_what_it_was(archived: Archived, destination: str, store: Server, run: Run) -> None:
    revision, state = some_state(archived)
    unleased = {key: each.value for key, each in state.keys.items() if not each.lease}
    assert len(unleased) > 3
    first, second, *_ = sorted(unleased)
    store.put(b"zz-made-later")
    store.put(first, b"changed")
    store.put(second, unleased[second])
    seen = store.revision
    restore = ["restore", "orders", "--from-archive", destination, "--store-id", STORE_ID, "--at", str(revision)]
    preview = run(*restore, "--in-place")
    assert preview.code == 0, preview.err
    assert f"{len(unleased) - 2} keys to put back, 1 keys to overwrite, 1 keys to delete; 1 are the" in preview.out
    assert f"--yes --previewed {seen}" in preview.out
    assert store.revision == seen, "a preview writes nothing"

    store.put(second, b"somebody's")
    store.put(b"zz-new", b"somebody's")
    done = run(*restore, "--in-place", "--yes", "--previewed", str(seen), "-o", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["written"] == len(unleased)
    left = {**unleased, second: b"somebody's", b"zz-new": b"somebody's"}
    assert {key: each.value for key, each in stored(store).items()} == left
    again = run(*restore, "--in-place", "--yes", "--previewed", str(seen), "-o", "json")
    assert json.loads(again.out)["written"] == len(unleased)
    revision_then = store.revision
    fresh = run(*restore, "--in-place", "--yes", "--prefix", "zz-", "-o", "json")
    assert json.loads(fresh.out)["written"] == 1
    assert store.revision == revision_then + 1


def test_a_key_that_was_written_since_the_preview_is_left_alone_and_named(
    archived: Archived,
    destination: str,
    store: Server,
    run: Run,
) -> None:
    revision, state = some_state(archived)
    key = min(key for key, each in state.keys.items() if not each.lease)
    store.put(key, b"before")
    seen = store.revision
    store.put(key, b"after")
    done = run("restore", "orders", "--from-archive", destination, "--store-id", STORE_ID, "--at", str(revision),
               "--in-place", "--yes", "--previewed", str(seen))  # fmt: skip
    assert done.code == 1
    assert f"left alone, since they were written after revision {seen}: 1 keys ({key.decode()})" in done.err
    assert stored(store)[key].value == b"after"


def test_an_archive_is_listed_shown_and_verified(archived: Archived, destination: str, store: Server, run: Run) -> None:
    listed = json.loads(run("backup", "list", destination, "-o", "json").out)["archives"]
    assert [each["storeId"] for each in listed] == [STORE_ID]
    assert [span["lastRevision"] for span in listed[0]["restorable"]] == [archived.revision]
    assert listed[0]["branches"], "the history has a tail that was lost"
    bases = [base["revision"] for base in listed[0]["bases"]]
    text = run("backup", "list", destination)
    assert "RESTORABLE FROM" in text.out
    assert f"--epoch {listed[0]['branches'][0]['epoch']}" in text.out

    base = json.loads(run("backup", "show", destination, str(bases[-1]), "-o", "json").out)
    assert (base["revision"], len(base["parts"])) == (bases[-1], 2)
    name = archived.headers[1].name
    assert json.loads(run("backup", "show", destination, name, "-o", "json").out)["lastRevision"] > 1
    assert run("backup", "show", destination, "1").code == 1
    assert run("backup", "show", destination, "x").code == 2

    verified = run("backup", "verify", destination)
    assert verified.code == 0, verified.err
    assert "are whole" in verified.out
    assert "is what the rows before it lead to" in verified.out
    compacted = run("backup", "verify", destination, "--store-id", STORE_ID, "--against", "orders")
    assert compacted.code == 1

    data = bytearray(archived.store.objects[name])
    data[-50] ^= 1
    Path(destination.removeprefix("file://"), STORE_ID, name).write_bytes(data)
    damaged = run("backup", "verify", destination)
    assert damaged.code == 1
    assert f"damaged: {name}" in damaged.out
    assert "objects of" in damaged.out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--at", "99999999"], 1, "revision 99999999 is not in the archive; it can restore"),
        (["--at", "2000-01-01T00:00:00Z"], 1, "is after the last rows and bases in the archive"),
        (["--at", "1960-01-01T00:00:00Z"], 1, "is before what the archive can restore"),
        (["--at", "2000-01-01T00:00:00"], 2, "does not say in which time zone"),
        (["--at", "yesterday"], 2, "is no revision, no time and not latest"),
        (["--store-id", "other"], 1, "there is no archive of store other"),
        (["--yes"], 2, "belong to --in-place"),
        (["--from-etcd", "/dev/null"], 2, "either --from-etcd FILE or --from-archive"),
    ],
)
def test_what_cannot_be_done_is_said(
    destination: str,
    cluster: FakeCluster,
    run: Run,
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    done = run("restore", "orders", "--from-archive", destination, *arguments)
    assert (done.code, text in done.err) == (code, True), done.err


@pytest.mark.parametrize(
    ("where", "code", "text"),
    [
        ("file:///nowhere/at-all", 1, "there is no folder"),
        ("ftp://host/x", 1, "is no destination"),
        ("s3://", 1, "names no bucket"),
    ],
)
def test_destinations_that_are_none_are_said(
    cluster: FakeCluster,
    run: Run,
    where: str,
    code: int,
    text: str,
) -> None:
    for command in (["backup", "list", where], ["restore", "orders", "--from-archive", where]):
        done = run(*command)
        assert (done.code, text in done.err) == (code, True), done.err


def test_an_object_store_that_does_not_answer_is_said(
    cluster: FakeCluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    done = run("backup", "list", "s3://bucket/stores", "--endpoint-url", "http://127.0.0.1:1")
    assert done.code == 1
    assert "s3://bucket/stores" in done.err


def test_refused_credentials_say_where_they_come_from(
    destination: str, cluster: FakeCluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AccessRefused("s3://bucket: SignatureDoesNotMatch")

    monkeypatch.setattr("rstore_cli.archives.open_store", refuse)
    done = run("backup", "verify", destination)
    assert (done.code, "AWS_ACCESS_KEY_ID" in done.err) == (1, True)


def test_an_archive_is_named_by_its_store(destination: str, cluster: FakeCluster, run: Run) -> None:
    assert "has no spec.backup" in run("backup", "list", "orders").err
    cluster.objects["spec"]["backup"] = {"destination": destination}
    cluster.objects["status"]["storeId"] = STORE_ID
    assert f"default/orders ({STORE_ID})" in run("backup", "list", "orders").out
    cluster.objects["status"]["storeId"] = "another"
    assert "there is no archive of store another" in run("backup", "show", "orders", "1").err


def test_the_archives_of_several_stores_are_told_apart(destination: str, cluster: FakeCluster, run: Run) -> None:
    folder = Path(destination.removeprefix("file://"))
    (folder / "other").mkdir()
    (folder / "unrelated").mkdir()
    (folder / "other" / "store.json").write_text('{"storeId":"other","namespace":"shop","name":"carts","format":1}\n')
    done = run("restore", "orders", "--from-archive", destination)
    assert done.code == 2
    assert "shop/carts (other)" in done.err
    assert "--store-id" in done.err
    listed = run("backup", "list", destination)
    assert "shop/carts (other): 0 segments" in listed.out
    assert "nothing can be restored" in listed.err


def test_a_store_that_was_made_anew_is_not_filled_from_its_own_new_archive(
    archived: Archived, destination: str, store: Server, cluster: FakeCluster, run: Run
) -> None:
    """The old store's is the only other one there."""
    folder = Path(destination.removeprefix("file://"))
    (folder / "anew").mkdir()
    (folder / "anew" / "store.json").write_text('{"storeId":"anew","namespace":"default","name":"orders","format":1}\n')
    cluster.objects["status"]["storeId"] = "anew"
    refused = run("restore", "orders", "--from-archive", destination, "--store-id", "anew")
    assert (refused.code, "archive of the store itself alone" in refused.err) == (1, True)
    cluster.objects["spec"]["backup"] = {"destination": destination}
    done = run("restore", "orders", "--from-archive", "orders")
    assert done.code == 0, done.err
    assert STORE_ID in done.out


@pytest.mark.parametrize("user", [None, User("root", "secret")])
def test_auth_comes_back_and_is_on(
    store: Server, run: Run, tmp_path: Path, user: User | None, as_user: Callable[[User | None], None]
) -> None:
    """Who may not read then is told that nothing was compared; a user with the role root compares."""
    archived = Archived(9)
    for _ in range(5):
        archived.change()
    root = AuthUser(name="root", roles=["root"], password_hash=bcrypt.hashpw(b"secret", bcrypt.gensalt(4)))
    switch = AuthSwitch(enabled=True, revision=3, token_key=b"k" * 32)
    auth = {
        b"rroot": AuthRole(name="root").SerializeToString(),
        b"s": switch.SerializeToString(),
        b"uroot": root.SerializeToString(),
    }
    archived.state = State(archived.state.keys, archived.state.leases, auth)
    archived.base()
    as_user(user)
    done = run("restore", "orders", "--from-archive", write_archive(archived, tmp_path / "archive"), "-o", "json")
    assert done.code == 0, done.err
    assert (json.loads(done.out)["compared"], json.loads(done.out)["usersAndRoles"]) == (user is not None, 3)
    assert store.call(methods.RANGE, ALL).code == "INVALID_ARGUMENT"
    login = rpc.AuthenticateRequest(name="root", password="secret")
    assert store.call(methods.AUTHENTICATE, login).message.token
