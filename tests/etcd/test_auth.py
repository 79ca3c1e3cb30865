"""Users, roles and what they may do: the same requests to a real etcd and to a store, the same answers.

A store counts a change of users and roles as a revision, as its row goes to the other regions in the order of
revisions; etcd does not. So revisions are left out of what is compared.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from etcd.auth_session import READ, READWRITE, WRITE, AuthSession
from etcd.etcd_process import Version, directory, version
from etcd.servers import Server
from rstore_api import methods
from rstore_api.proto import rpc_pb2 as rpc

Case = Callable[[AuthSession], Any]
_CASES: dict[str, tuple[Version, Case]] = {}


def case(*since: int) -> Callable[[Case], Case]:
    """Adds a case; it is given a server where auth is off, without users, roles and keys. ``since`` is a version of
    etcd that answers as the store does: some before it leave more open.
    """

    def added(function: Case) -> Case:
        _CASES[function.__name__] = since, function
        return function

    return added


@pytest.fixture
def sessions(servers: tuple[Server, Server]) -> Iterator[tuple[AuthSession, AuthSession]]:
    both = AuthSession(servers[0]), AuthSession(servers[1])
    yield both
    for session in both:
        session.clear()


@case(3, 5, 16)
def while_it_is_off(auth: AuthSession) -> Any:
    return [
        auth.status(),
        auth.authenticate("root", "root"),
        auth.authenticate("", ""),
        auth.disable(),
        auth.enable(),
        auth.add_user("root", "root"),
        auth.enable(),
        auth.grant_role("root", "root"),
        auth.put(b"k"),
        auth.call(methods.RANGE, rpc.RangeRequest(key=b"k"), token="nonsense"),
        auth.watch(b"k"),
    ]


@case()
def users(auth: AuthSession) -> Any:
    return [
        auth.users(),
        auth.add_user("", "secret"),
        auth.add_user("b", "secret"),
        auth.add_user("b", "secret"),
        auth.add_user("a", no_password=True),
        auth.add_user("ü", "secret"),
        auth.get_user("b"),
        auth.get_user("c"),
        auth.get_user(""),
        auth.users(),
        auth.change_password("b", "other"),
        auth.change_password("a", "other"),
        auth.change_password("c", "other"),
        auth.delete_user("b"),
        auth.delete_user("b"),
        auth.delete_user(""),
        auth.users(),
    ]


@case()
def roles(auth: AuthSession) -> Any:
    return [
        auth.roles(),
        auth.add_role(""),
        auth.add_role("r"),
        auth.add_role("r"),
        auth.add_role("a"),
        auth.get_role("r"),
        auth.get_role("none"),
        auth.get_role("root"),
        auth.add_role("root"),
        auth.get_role("root"),
        auth.grant("root", READ, b"k"),
        auth.get_role("root"),
        auth.roles(),
        auth.delete_role("a"),
        auth.delete_role("a"),
        auth.delete_role(""),
    ]


@case(3, 5, 16)
def permissions(auth: AuthSession) -> Any:
    return [
        auth.grant("none", READ, b"k"),
        auth.add_role("r"),
        auth.call(methods.ROLE_GRANT_PERMISSION, rpc.AuthRoleGrantPermissionRequest(name="r")),
        auth.call(methods.ROLE_GRANT_PERMISSION, rpc.AuthRoleGrantPermissionRequest(name="none")),
        auth.grant("r", READ, b"k"),
        auth.grant("r", READ, b"k"),
        auth.grant("r", WRITE, b"k"),
        auth.grant("r", READWRITE, b"a", b"c"),
        auth.grant("r", READ, b"z", b"\0"),
        auth.grant("r", READ, b"\0", b"\0"),
        auth.get_role("r"),
        auth.grant("r", READ, b"x", b"x"),
        auth.grant("r", READ, b"x", b"a"),
        auth.grant("r", READ, b""),
        auth.grant("r", READ, b"", b"a"),
        auth.get_role("r"),
        auth.revoke("r", b"k"),
        auth.revoke("r", b"k"),
        auth.revoke("r", b"a", b"c"),
        auth.revoke("r", b"a"),
        auth.revoke("none", b"a"),
        auth.get_role("r"),
    ]


@case()
def roles_of_users(auth: AuthSession) -> Any:
    auth.add_user("u", "u")
    for role in ("b", "a", "c"):
        auth.add_role(role)
    return [
        auth.grant_role("u", "none"),
        auth.grant_role("none", "a"),
        auth.grant_role("u", "b"),
        auth.grant_role("u", "b"),
        auth.grant_role("u", "a"),
        auth.grant_role("u", "root"),
        auth.get_user("u"),
        auth.revoke_role("u", "none"),
        auth.revoke_role("u", "c"),
        auth.revoke_role("none", "a"),
        auth.revoke_role("u", "a"),
        auth.get_user("u"),
        auth.delete_role("b"),
        auth.get_user("u"),
    ]


@case()
def turning_it_on_and_off(auth: AuthSession) -> Any:
    auth.start(("u", "r", READWRITE, b"k", b""))
    return [
        auth.enable(),
        auth.enable("root:root"),
        auth.enable("u:u"),
        auth.status(),
        auth.status("root:root"),
        auth.status("u:u"),
        auth.disable(),
        auth.disable("u:u"),
        auth.delete_user("root", "root:root"),
        auth.revoke_role("root", "root", "root:root"),
        auth.delete_role("root", "root:root"),
        auth.disable("root:root"),
        auth.disable(),
        auth.delete_role("root"),
        auth.delete_user("root"),
    ]


@case()
def tokens(auth: AuthSession) -> Any:
    auth.start(("u", "r", READWRITE, b"k", b""), ("v", "s", READWRITE, b"k", b""))
    token, other = (auth.authenticate(name, name).message.token for name in ("u", "v"))
    get = rpc.RangeRequest(key=b"k")
    answers = [
        auth.authenticate("u", "wrong"),
        auth.authenticate("u", ""),
        auth.authenticate("none", "wrong"),
        auth.authenticate("", ""),
        auth.call(methods.RANGE, get, token=token),
        auth.call(methods.RANGE, get, token=""),
        auth.call(methods.RANGE, get, token="nonsense"),
        auth.call(methods.RANGE, get, token=token + "x"),
        auth.call(methods.PUT, rpc.PutRequest(key=b"k"), token="nonsense"),
        auth.change_password("u", "new", "root:root"),
        auth.call(methods.RANGE, get, token=token),
        auth.authenticate("u", "u"),
        auth.get(b"k", user="u:new"),
        auth.call(methods.RANGE, get, token=other),
        auth.delete_user("v", "root:root"),
        auth.call(methods.RANGE, get, token=other),
        auth.add_user("v", "v", user="root:root"),
        auth.call(methods.RANGE, get, token=other),
        auth.add_user("n", no_password=True, user="root:root"),
        auth.authenticate("n", "n"),
        auth.authenticate("n", ""),
    ]
    token = auth.authenticate("u", "new").message.token
    auth.disable("root:root")
    auth.enable()
    return [*answers, auth.call(methods.RANGE, get, token=token)]


@case(3, 5, 16)
def who_may_change_users(auth: AuthSession) -> Any:
    auth.start(("u", "r", READWRITE, b"\0", b"\0"))
    auth.add_user("a", "a", user="root:root")
    auth.add_role("s", user="root:root")
    return [
        [
            auth.users(user),
            auth.roles(user),
            auth.add_user("n", "n", user=user),
            auth.add_user("", "n", user=user),
            auth.add_role("n", user=user),
            auth.get_user("u", user=user),
            auth.get_user("a", user=user),
            auth.get_user("none", user=user),
            auth.get_role("r", user=user),
            auth.get_role("s", user=user),
            auth.get_role("root", user=user),
            auth.grant("r", READ, b"k", user=user),
            auth.grant("r", READ, b"", user=user),
            auth.revoke("r", b"k", user=user),
            auth.grant_role("a", "r", user=user),
            auth.revoke_role("a", "r", user=user),
            auth.change_password("a", "a", user=user),
            auth.delete_role("n", user=user),
            auth.delete_user("n", user=user),
        ]
        for user in ("", "u:u", "root:root")
    ]


@case(3, 5, 16)
def keys(auth: AuthSession) -> Any:
    auth.start(
        ("reader", "r", READ, b"a", b"m"), ("writer", "w", WRITE, b"a", b"m"), ("one", "o", READWRITE, b"b", b"")
    )
    for key in (b"a", b"b", b"m"):
        auth.put(key, "root:root", value=b"v")
    auth.add_role("rest", "root:root")
    auth.grant("rest", READ, b"m", b"\0", "root:root")
    auth.add_user("both", "both", user="root:root")
    auth.grant_role("both", "rest", "root:root")
    auth.grant_role("both", "r", "root:root")
    return [
        [
            auth.get(b"a", user=user),
            auth.get(b"m", user=user),
            auth.get(b"b", user=user, serializable=True),
            auth.get(b"m", user=user, serializable=True),
            auth.get(b"a", b"m", user=user),
            auth.get(b"a", b"n", user=user),
            auth.get(b"a", b"\0", user=user),
            auth.get(b"b", b"a", user=user),
            auth.get(b"", user=user),
            auth.put(b"b", user),
            auth.put(b"b", user, prev_kv=True),
            auth.put(b"m", user),
            auth.put(b"", user),
            auth.put(b"b", user, ignore_value=True),
            auth.delete(b"b", user=user),
            auth.delete(b"b", user=user, prev_kv=True),
            auth.delete(b"l", b"m", user=user),
            auth.delete(b"l", b"n", user=user),
            auth.delete(b"l", b"m", user=user, prev_kv=True),
            auth.watch(b"a", user=user),
            auth.watch(b"a", b"m", user=user),
            auth.watch(b"a", b"n", user=user),
            auth.watch(b"m", user=user),
        ]
        for user in ("", "reader:reader", "writer:writer", "one:one", "both:both", "root:root")
    ]


def _put_op(key: bytes, **options: Any) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, **options))


def _range_op(key: bytes, range_end: bytes = b"") -> rpc.RequestOp:
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key, range_end=range_end))


def _delete_op(key: bytes, range_end: bytes = b"", **options: Any) -> rpc.RequestOp:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=range_end, **options))


@case()
def transactions(auth: AuthSession) -> Any:
    auth.start(
        ("reader", "r", READ, b"a", b"m"), ("writer", "w", WRITE, b"a", b"m"), ("both", "o", READWRITE, b"a", b"m")
    )
    answers = []
    for user in ("", "reader:reader", "writer:writer", "both:both"):
        for key in (b"b", b"x"):
            compare = rpc.Compare(key=key, target=rpc.Compare.VERSION, result=rpc.Compare.GREATER)
            inside = rpc.Compare(key=b"b", target=rpc.Compare.VERSION, result=rpc.Compare.GREATER, range_end=b"c")
            answers += [
                auth.txn(user, compare=[compare]),
                auth.txn(user, compare=[inside]),
                auth.txn(user, success=[_put_op(key)]),
                auth.txn(user, failure=[_put_op(key)]),
                auth.txn(user, success=[_range_op(key)]),
                auth.txn(user, success=[_range_op(b"b", key + b"a")]),
                auth.txn(user, success=[_delete_op(key)]),
                auth.txn(user, failure=[_delete_op(key)]),
                auth.txn(user, failure=[_delete_op(key, prev_kv=True)]),
                auth.txn(user, success=[_put_op(b"b"), _range_op(key)]),
            ]
    return answers


@case(3, 5, 16)
def leases(auth: AuthSession) -> Any:
    auth.start(("u", "r", READWRITE, b"a", b"m"))

    def time_to_live(lease: int, user: str, *, keys: bool) -> Any:
        request = rpc.LeaseTimeToLiveRequest(ID=lease, keys=keys)
        answer = auth.call(methods.LEASE_TIME_TO_LIVE, request, user=user)
        return answer.code, answer.text, sorted(answer.message.keys) if answer.message is not None else None

    grant = [
        auth.call(methods.LEASE_GRANT, rpc.LeaseGrantRequest(ID=lease, TTL=100), user="root:root") for lease in (11, 12)
    ]
    answers = [
        grant,
        auth.put(b"b", "u:u", lease=11),
        auth.put(b"x", "root:root", lease=12),
        auth.put(b"c", "u:u", lease=12),
        auth.put(b"c", "u:u", lease=13),
        time_to_live(11, "u:u", keys=True),
        time_to_live(11, "u:u", keys=False),
        time_to_live(12, "u:u", keys=True),
        time_to_live(12, "u:u", keys=False),
        time_to_live(12, "root:root", keys=True),
    ]
    for lease in (12, 11, 13):
        request = rpc.LeaseRevokeRequest(ID=lease)
        for user in ("u:u", "root:root"):
            answers.append(auth.call(methods.LEASE_REVOKE, request, user=user))
    return answers


@case()
def maintenance(auth: AuthSession) -> Any:
    auth.start(("u", "r", READWRITE, b"\0", b"\0"))
    answers = []
    for user in ("", "u:u", "root:root"):
        # etcd's text and code say no more than that it failed.
        answers.append(auth.call(methods.HASH_KV, rpc.HashKVRequest(), user=user).code == "OK")
    answers.append(auth.call(methods.STATUS, rpc.StatusRequest(), user="root:root").code)
    for user in ("u:u", "root:root"):
        answers.append(auth.call(methods.MEMBER_LIST, rpc.MemberListRequest(), user=user).code)
        answers.append(auth.call(methods.ALARM, rpc.AlarmRequest(), user=user).code)
    return answers


@pytest.mark.parametrize("name", _CASES)
def test_both_answer_alike(sessions: tuple[AuthSession, AuthSession], name: str) -> None:
    since, function = _CASES[name]
    if version() < since:
        pytest.skip(f"etcd {version()} is older than {since}")
    etcd, ours = (function(session) for session in sessions)
    assert ours == etcd


def test_what_released_versions_of_etcd_leave_open_needs_a_user_here(
    sessions: tuple[AuthSession, AuthSession],
) -> None:
    """As etcd does since 3.5.28; the one that is installed may be older."""
    _, ours = sessions
    ours.start(("u", "r", READ, b"k", b""))
    revoked = rpc.LeaseGrantRequest(ID=77, TTL=100)
    nested = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[_put_op(b"other")]))
    assert [
        (answer.code, answer.text)
        for answer in (
            ours.call(methods.MEMBER_LIST, rpc.MemberListRequest()),
            ours.call(methods.STATUS, rpc.StatusRequest()),
            ours.call(methods.ALARM, rpc.AlarmRequest()),
            ours.call(methods.COMPACT, rpc.CompactionRequest(revision=1)),
            ours.call(methods.COMPACT, rpc.CompactionRequest(revision=1), user="u:u"),
            ours.call(methods.LEASE_GRANT, revoked),
            ours.call(methods.LEASE_LEASES, rpc.LeaseLeasesRequest()),
            ours.call(methods.LEASE_TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=77)),
            ours.txn("u:u", success=[nested]),
        )
    ] == [
        *[("INVALID_ARGUMENT", "etcdserver: user name is empty")] * 4,
        ("PERMISSION_DENIED", "etcdserver: permission denied"),
        *[("INVALID_ARGUMENT", "etcdserver: user name is empty")] * 3,
        ("PERMISSION_DENIED", "etcdserver: permission denied"),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_random_walk_is_answered_alike(sessions: tuple[AuthSession, AuthSession], seed: int) -> None:
    """Roles with overlapping ranges come and go; users try every key and some ranges in between."""
    if version() < (3, 5, 16):
        pytest.skip("older ones grant permissions for empty ranges")
    rng = random.Random(seed)
    keys = [bytes([letter]) for letter in b"abcdef"]
    for session in sessions:
        session.start(("u", "r0", READ, b"c", b""), ("v", "r1", READWRITE, b"a", b"c"))
    for session in sessions:
        session.add_role("r2", "root:root")
    tokens = [
        {name: session.authenticate(name, name).message.token for name in ("u", "v", "root")} for session in sessions
    ]
    granted: set[tuple[str, bytes, bytes]] = set()
    for step in range(120):
        role, name = f"r{rng.randrange(3)}", rng.choice(("u", "v"))
        key, end = rng.choice(keys), rng.choice((b"", b"", b"\0", *keys))
        kind = rng.choice((READ, WRITE, READWRITE))
        action = rng.randrange(9)
        by = rng.choice((name, "root"))
        requests: tuple[Any, Any, str]
        if action == 0:
            if any(each[:2] == (role, key) and each[2] != end for each in granted):
                continue  # which of two with the same key etcd replaces is chance
            granted.add((role, key, end))
            permission = rpc.AuthRoleGrantPermissionRequest(name=role)
            permission.perm.permType, permission.perm.key, permission.perm.range_end = kind, key, end
            requests = methods.ROLE_GRANT_PERMISSION, permission, "root"
        elif action == 1:
            revoked = rng.choice(sorted(granted)) if granted else (role, key, end)
            granted.discard(revoked)
            request = rpc.AuthRoleRevokePermissionRequest(role=revoked[0], key=revoked[1], range_end=revoked[2])
            requests = methods.ROLE_REVOKE_PERMISSION, request, "root"
        elif action == 2:
            requests = methods.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user=name, role=role), "root"
        elif action == 3:
            requests = methods.USER_REVOKE_ROLE, rpc.AuthUserRevokeRoleRequest(name=name, role=role), "root"
        elif action == 4:
            requests = methods.PUT, rpc.PutRequest(key=key, value=b"%d" % step, prev_kv=rng.random() < 0.5), by
        elif action == 5:
            requests = methods.DELETE_RANGE, rpc.DeleteRangeRequest(key=key, range_end=end), by
        elif action == 6:
            operations = [_range_op(key, end), _put_op(rng.choice(keys))]
            requests = methods.TXN, rpc.TxnRequest(success=operations), by
        elif action == 7:
            requests = methods.ROLE_GET, rpc.AuthRoleGetRequest(role=role), by
        else:
            serializable = rng.random() < 0.3
            requests = methods.RANGE, rpc.RangeRequest(key=key, range_end=end, serializable=serializable), by
        method, request, user = requests
        etcd, ours = (
            session.call(method, request, token=known[user]) for session, known in zip(sessions, tokens, strict=True)
        )
        assert ours == etcd, (step, method.path, request, user)


def test_etcdctl_manages_users_and_names_one(sessions: tuple[AuthSession, AuthSession]) -> None:
    def run(server: Server, *arguments: str) -> tuple[int, str]:
        files = server.files
        tls = [f"--cacert={files.ca}", f"--cert={files.cert}", f"--key={files.key}"] if files else []
        command = [directory() / "etcdctl", f"--endpoints={server.address}", *tls, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr.rpartition("Error: ")[2]

    def script(server: Server) -> list[tuple[int, str]]:
        root, reader = "--user=root:root", "--user=reader:reader"
        return [
            run(server, "user", "add", "root:root"),
            run(server, "user", "add", "reader:reader"),
            run(server, "user", "add", "bare", "--no-password"),
            run(server, "role", "add", "readers"),
            run(server, "role", "grant-permission", "readers", "read", "a/", "--prefix"),
            run(server, "role", "get", "readers"),
            run(server, "user", "grant-role", "reader", "readers"),
            run(server, "user", "grant-role", "root", "root"),
            run(server, "user", "get", "reader"),
            run(server, "user", "list"),
            run(server, "auth", "enable"),
            run(server, "put", "a/k", "v"),
            run(server, root, "put", "a/k", "v"),
            run(server, reader, "get", "a/k"),
            run(server, reader, "get", "a/", "--prefix"),
            run(server, reader, "get", "", "--prefix"),
            run(server, reader, "put", "a/k", "v"),
            run(server, "--user=reader:wrong", "get", "a/k"),
            run(server, root, "role", "revoke-permission", "readers", "a/", "--prefix"),
            run(server, reader, "get", "a/k"),
            run(server, root, "user", "get", "reader", "--detail"),
            run(server, root, "user", "revoke-role", "reader", "readers"),
            run(server, root, "role", "delete", "readers"),
            run(server, root, "user", "delete", "reader"),
            run(server, root, "role", "list"),
            run(server, root, "auth", "disable"),
            run(server, "get", "a/k"),
        ]

    etcd, ours = (script(session.server) for session in sessions)
    assert ours == etcd
