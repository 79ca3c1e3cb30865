"""What roles permit together, beside a model that knows single keys."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from rstore_api.proto.auth_pb2 import Permission
from rstore_api.proto.rstore_pb2 import AuthRole
from rstore_replica.api.auth.rights import rights_of

LETTERS = b"abcd"
KEYS = [bytes(key) for size in (1, 2) for key in product(LETTERS, repeat=size)]
PERMISSIONS = st.builds(
    Permission,
    permType=st.sampled_from(Permission.Type.values()),
    key=st.sampled_from(KEYS),
    range_end=st.sampled_from([b"", b"\0", *KEYS]),
)
ROLES = st.lists(st.builds(AuthRole, name=st.just("r"), permissions=st.lists(PERMISSIONS, max_size=4)), max_size=3)


def names(key: bytes, range_end: bytes, one: bytes) -> bool:
    """Whether (key, range end) is about one key."""
    if not range_end:
        return one == key
    return one >= key and (range_end == b"\0" or one < range_end)


def permitted(roles: list[AuthRole], one: bytes, types: tuple[Permission.Type, ...]) -> bool:
    return any(
        each.permType in types and names(each.key, each.range_end, one) for role in roles for each in role.permissions
    )


@given(ROLES, st.sampled_from(KEYS), st.sampled_from([b"", b"\0", *KEYS]))
def test_a_range_is_allowed_when_every_key_in_it_is(roles: list[AuthRole], key: bytes, range_end: bytes) -> None:
    roles = [
        AuthRole(name="r", permissions=[each for each in role.permissions if not _is_empty(each.key, each.range_end)])
        for role in roles
    ]
    rights = rights_of("u", ["r"], roles)
    asked = [key] if _is_empty(key, range_end) else [one for one in KEYS if names(key, range_end, one)]
    reading, writing = (Permission.READ, Permission.READWRITE), (Permission.WRITE, Permission.READWRITE)
    for allowed, types in ((rights.reads(key, range_end), reading), (rights.changes(key, range_end), writing)):
        if allowed:
            assert all(permitted(roles, one, types) for one in asked)
        elif not range_end:
            assert not permitted(roles, key, types)


def _is_empty(key: bytes, range_end: bytes) -> bool:
    return bool(range_end) and range_end != b"\0" and range_end <= key


def permission(kind: Permission.Type, key: bytes, range_end: bytes = b"") -> Permission:
    return Permission(permType=kind, key=key, range_end=range_end)


def test_permissions_that_touch_allow_together_what_none_allows_alone() -> None:
    first = AuthRole(name="r", permissions=[permission(Permission.READ, b"a", b"c")])
    second = AuthRole(name="s", permissions=[permission(Permission.READWRITE, b"c", b"f")])
    rights = rights_of("u", ["r", "s"], [first, second])
    assert rights.reads(b"a", b"f")
    assert not rights.reads(b"a", b"g")
    assert not rights.changes(b"a", b"f")
    assert rights.changes(b"c", b"f")


def test_one_key_is_no_range_and_only_an_open_end_has_every_key_behind() -> None:
    rights = rights_of("u", ["r"], [AuthRole(permissions=[permission(Permission.READ, b"k")])])
    assert (rights.reads(b"k", b""), rights.reads(b"k", b"k\0"), rights.reads(b"k", b"\0")) == (True, True, False)
    rights = rights_of("u", ["r"], [AuthRole(permissions=[permission(Permission.READ, b"k", b"\0")])])
    assert (rights.reads(b"k", b"\0"), rights.reads(b"j", b"\0")) == (True, False)


def test_root_may_do_everything_whether_or_not_there_is_such_a_role() -> None:
    rights = rights_of("u", ["root"], [])
    assert rights.is_root
    assert rights.reads(b"a", b"\0")
    assert rights.changes(b"a", b"\0")
