"""Whatever happens to users and roles, every region has those that a model has: after changes, compaction, a stream, a
snapshot, a restart, and a failover that takes some of it back.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain.epochs import settled
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.rstore_pb2 import AuthChange
from unit.mvcc.replicas import Replica
from unit.mvcc.requests.test_auth import DISABLE, ENABLE, add_role, add_user, change, grant, grant_role
from unit.mvcc.tails.regions import follow, leave, promote
from unit.mvcc.transfer.transfers import install

NAMES = st.sampled_from(["root", "u", "v"])
CHANGES = st.one_of(
    st.tuples(st.just("add_user"), NAMES),
    st.tuples(st.just("add_user"), NAMES),
    st.tuples(st.just("delete_user"), NAMES),
    st.tuples(st.just("add_role"), NAMES),
    st.tuples(st.just("delete_role"), NAMES),
    st.tuples(st.just("grant_role"), st.tuples(NAMES, NAMES)),
    st.tuples(st.just("grant_role"), st.just(("root", "root"))),
    st.tuples(st.just("grant"), st.tuples(NAMES, st.sampled_from([b"a", b"b"]))),
    st.tuples(st.just("enable"), st.none()),
    st.tuples(st.just("enable"), st.none()),
    st.tuples(st.just("disable"), st.none()),
    st.tuples(st.just("put"), st.sampled_from([b"a", b"\xff\xff"])),
)
SOME = st.lists(CHANGES, min_size=1, max_size=5)
STEPS: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.just("write"), SOME),
    st.tuples(st.just("write"), SOME),
    st.tuples(st.just("write"), SOME),
    st.tuples(st.just("compact"), st.integers(0, 6)),
    st.tuples(st.just("sweep"), st.integers(1, 5)),
    st.tuples(st.just("follow"), st.integers(1, 4)),
    st.tuples(st.just("fail_over"), st.integers(0, 3)),
    st.tuples(st.just("lose"), SOME),
    st.tuples(st.just("lose"), SOME),
    st.tuples(st.just("snapshot"), st.integers(1, 4)),
    st.tuples(st.just("reopen"), st.none()),
)
State = tuple[bool, dict[str, set[str]], dict[str, set[bytes]]]
"""Whether auth is on, the roles of each user, and the keys of each role."""


class Model:
    """What there is, at every revision."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.enabled = False
        self.users: dict[str, set[str]] = {}
        self.roles: dict[str, set[bytes]] = {}
        self.states: dict[int, State] = {revision: self.state()}

    def state(self) -> State:
        users = {name: set(roles) for name, roles in self.users.items()}
        return self.enabled, users, {name: set(keys) for name, keys in self.roles.items()}

    def write(self, kind: str, detail: Any) -> bool:
        """Carries it out; returns whether it was not refused."""
        before = self.state()
        accepted = bool(getattr(self, f"_{kind}")(detail))
        if kind == "put" or self.state() != before:
            self.revision += 1
            self.states[self.revision] = self.state()
        return accepted

    def back_to(self, revision: int, next_revision: int) -> None:
        self.enabled, self.users, self.roles = self.states[revision]
        self.states = {each: state for each, state in self.states.items() if each <= revision}
        self.enabled, self.users, self.roles = self.state()
        self.revision = next_revision

    def _put(self, _key: bytes) -> bool:
        return True

    def _add_user(self, name: str) -> bool:
        return name not in self.users and self.users.setdefault(name, set()) == set()

    def _delete_user(self, name: str) -> bool:
        if name not in self.users or (self.enabled and name == "root"):
            return False
        del self.users[name]
        return True

    def _add_role(self, name: str) -> bool:
        return name not in self.roles and self.roles.setdefault(name, set()) == set()

    def _delete_role(self, name: str) -> bool:
        if name not in self.roles or (self.enabled and name == "root"):
            return False
        del self.roles[name]
        for roles in self.users.values():
            roles.discard(name)
        return True

    def _grant_role(self, detail: tuple[str, str]) -> bool:
        user, role = detail
        if user not in self.users or (role != "root" and role not in self.roles):
            return False
        self.users[user].add(role)
        return True

    def _grant(self, detail: tuple[str, bytes]) -> bool:
        role, key = detail
        if role not in self.roles:
            return False
        if key in self.roles[role]:
            self.revision += 1  # what is granted again is written again
            self.states[self.revision] = self.state()
        self.roles[role].add(key)
        return True

    def _enable(self, _: None) -> bool:
        if "root" not in self.users.get("root", ()):
            return False
        self.enabled = True
        return True

    def _disable(self, _: None) -> bool:
        self.enabled = False
        return True


def change_of(kind: str, detail: Any) -> AuthChange:
    match kind:
        case "add_user":
            return add_user(detail)
        case "delete_user":
            return AuthChange(user_delete=rpc.AuthUserDeleteRequest(name=detail))
        case "add_role":
            return add_role(detail)
        case "delete_role":
            return AuthChange(role_delete=rpc.AuthRoleDeleteRequest(role=detail))
        case "grant_role":
            return grant_role(*detail)
        case "grant":
            return grant(*detail)
        case "enable":
            return ENABLE
    return DISABLE


def held(replica: Replica) -> State:
    """What a replica has."""

    def read(records: Any) -> State:
        users = {name: set(records.user(name).roles) for name in records.users()}
        roles = {name: {each.key for each in records.role(name).permissions} for name in records.roles()}
        switch = records.switch()
        assert (switch.enabled, switch.revision) == (replica.machine.auth.enabled, replica.machine.auth.revision)
        return switch.enabled, users, roles

    return replica.machine.read_auth(read)


class Regions:
    """A primary, a secondary, and what they should have."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.primary, self.secondary = Replica(directory / "us"), Replica(directory / "eu", "eu")
        self.model = Model(self.primary.machine.revision)
        self.snapshots = 0

    def write(self, changes: list[tuple[str, Any]]) -> None:
        for kind, detail in changes:
            accepted = self.model.write(kind, detail)
            if kind == "put":
                self.primary.put(detail, b"v")
            else:
                assert (change(self.primary, change_of(kind, detail)) == [""]) is accepted

    def compact(self, behind: int) -> None:
        machine = self.primary.machine
        self.primary.compact(settled(machine.state.history, machine.revision - behind))

    def sweep(self, max_rows: int) -> None:
        self.primary.machine.compact_step(max_rows)

    def follow(self, max_rows: int) -> None:
        if self.secondary.machine.revision >= self.primary.machine.compact_revision:
            follow(self.primary, self.secondary, max_rows=max_rows)
        else:
            install(self.primary, self.secondary, max_rows=max_rows)
        assert held(self.secondary) == self.model.state()
        assert self.secondary.machine.auth.token_key == self.primary.machine.auth.token_key

    def fail_over(self, max_rows: int) -> None:
        """The secondary becomes primary; the other one leaves what only it has."""
        fork = self.secondary.machine.revision
        follows = self.secondary.machine.state.history == self.primary.machine.state.history
        if not follows or fork < self.primary.machine.compact_revision:
            return
        first = promote(self.secondary, self.primary.machine.state.epoch + 1)
        self.primary, self.secondary = self.secondary, self.primary
        leave(self.primary, self.secondary, max_rows=max_rows)
        self.model.back_to(max(each for each in self.model.states if each <= fork), first - 1)
        assert held(self.secondary) == self.model.state()
        self.follow(10)

    def lose(self, changes: list[tuple[str, Any]]) -> None:
        """Some changes do not reach the region that takes over."""
        self.follow(10)
        self.write(changes)
        self.fail_over(2)

    def snapshot(self, max_rows: int) -> None:
        """Another region begins."""
        self.snapshots += 1
        third = Replica(self.directory / f"third-{self.snapshots}", "ap")
        install(self.primary, third, max_rows=max_rows)
        assert held(third) == self.model.state()
        third.machine.close()

    def reopen(self, _: None) -> None:
        self.primary.reopen()
        self.secondary.reopen()

    def check(self) -> None:
        assert self.primary.machine.revision == self.model.revision
        assert held(self.primary) == self.model.state()
        keys = {kv.key for kv in self.primary.range().kvs}
        assert keys <= {b"a", b"\xff\xff"}, "users and roles are no keys"

    def end(self) -> None:
        self.primary.machine.close()
        self.secondary.machine.close()


@settings(max_examples=120)
@given(steps=st.lists(STEPS, max_size=16))
def test_any_sequence(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        regions = Regions(Path(directory))
        for kind, detail in steps:
            getattr(regions, kind)(detail)
            regions.check()
        regions.end()
