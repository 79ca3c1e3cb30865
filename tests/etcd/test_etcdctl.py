"""etcdctl prints the same of a real etcd and of a store, but for what docs/etcd-compatibility.md lists."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from etcd.etcd_process import is_installed
from etcd.etcdctl import RUN_SECONDS, EtcdCtl, Printed
from etcd.etcdctl_rows import ROWS, Command
from etcd.servers import Server, running_etcd, running_store
from rstore_api import methods
from rstore_api.proto import rpc_pb2 as rpc

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "etcd-compatibility.md"


def documented() -> set[str]:
    """Returns the commands that the table of docs/etcd-compatibility.md says to differ."""
    section = DOCUMENT.read_text().partition("## etcdctl\n")[2].partition("\n## ")[0]
    return {found for line in section.splitlines() for found in re.findall(r"^\| `([^`]+)` \|", line)}


def printed(server: Server, etcdctl: EtcdCtl, commands: list[Command], key: str) -> list[tuple[str, object]]:
    """Runs the commands one after the other."""
    made: list[tuple[str, object]] = []
    for command in commands:
        arguments = [_filled(one, key, server.revision) for one in command.arguments]
        what: Printed | list[str]
        if command.lines:
            what = etcdctl.lines(command.lines, *arguments)
        else:
            what = etcdctl.run(*arguments, stdin=command.stdin.replace("KEY", key))
        made.append((" ".join(arguments), what))
    return made


def _filled(argument: str, key: str, newest: int) -> str:
    """Puts in the row's own prefix, and the newest revision or one so many before it."""
    return re.sub(r"REVISION(-\d+)?", lambda found: str(newest + int(found[1] or 0)), argument.replace("KEY", key))


@pytest.fixture(scope="module")
def etcd_and_secondary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """An etcd, and the secondary region of a store of two."""
    if not is_installed():
        pytest.skip("etcd is not installed in this environment")
    with (
        running_etcd(tmp_path_factory.mktemp("etcd")) as etcd,
        running_store(tmp_path_factory.mktemp("store"), secondaries=["eu-west"]) as ours,
    ):
        yield etcd, ours


@pytest.mark.parametrize("name", ROWS)
def test_etcdctl_prints_the_same(servers: tuple[Server, Server], name: str) -> None:
    assert_same(servers, name, ROWS[name])


@pytest.mark.parametrize("name", [name for name in ROWS if name not in documented()])
def test_etcdctl_prints_the_same_of_a_secondary_region(etcd_and_secondary: tuple[Server, Server], name: str) -> None:
    """But for ``--cluster``, which lists the members of two regions."""
    assert_same(etcd_and_secondary, name, [command for command in ROWS[name] if "--cluster" not in command.arguments])


def assert_same(servers: tuple[Server, Server], name: str, commands: list[Command]) -> None:
    """Compares what the commands print of both; of those that are documented to differ one must."""
    key = f"{list(ROWS).index(name)}-{name.replace(' ', '-')}/"
    expected, found = (printed(server, EtcdCtl(server), commands, key) for server in servers)
    differences = [f"{theirs}\n   {mine}" for theirs, mine in zip(expected, found, strict=True) if theirs != mine]
    if name in documented():
        assert differences, f"`{name}` prints the same now: take it out of docs/etcd-compatibility.md"
    else:
        assert not differences, "\n".join(differences)


def _keys(server: Server, prefix: str) -> list[tuple[bytes, bytes]]:
    request = rpc.RangeRequest(key=prefix.encode(), range_end=prefix[:-1].encode() + b"0")  # "0" is behind "/"
    return [(pair.key, pair.value) for pair in server.call(methods.RANGE, request).message.kvs]


@pytest.mark.parametrize("into_the_store", [True, False])
def test_make_mirror_copies_and_follows(servers: tuple[Server, Server], into_the_store: bool) -> None:
    source, destination = servers if into_the_store else reversed(servers)
    name = f"mirror-{into_the_store}/"
    source.put(f"{name}old".encode(), b"1")
    files = destination.files
    transport = ["--dest-insecure-transport=true"]
    if files is not None:
        transport = [f"--dest-cacert={files.ca}", f"--dest-cert={files.cert}", f"--dest-key={files.key}"]
        transport.append("--dest-insecure-transport=false")
    command = ["make-mirror", *transport, f"--prefix={name}", f"--dest-prefix=copy-of-{name}"]
    with EtcdCtl(source).running(*command, destination.address.rpartition("/")[2]):
        _until(lambda: _keys(destination, f"copy-of-{name}") == [(f"copy-of-{name}old".encode(), b"1")])
        source.put(f"{name}new".encode(), b"2")
        source.delete(f"{name}old".encode())
        _until(lambda: _keys(destination, f"copy-of-{name}") == [(f"copy-of-{name}new".encode(), b"2")])


def test_a_lock_goes_to_who_waits_and_a_listener_sees_who_leads(servers: tuple[Server, Server]) -> None:
    expected, found = map(_handed_over, servers)
    assert found == expected


def _handed_over(server: Server) -> list[str]:
    """Returns what is printed by two that want a lock, and by a listener of an election with two candidates."""
    etcdctl = EtcdCtl(server)
    with etcdctl.running("lock", "handed") as first:
        printed = [first.line()]
        with etcdctl.running("lock", "handed", "echo", "mine") as second:
            _until(lambda: len(_keys(server, "handed/")) > 1)
            first.end()
            printed.append(second.line())
    with (
        etcdctl.running("elect", "office", "first") as first,
        etcdctl.running("elect", "--listen", "office") as listener,
    ):
        printed += [first.line(), first.line(), listener.line(), listener.line()]
        with etcdctl.running("elect", "office", "second"):
            _until(lambda: len(_keys(server, "office/")) > 1)
            first.end()
            printed += [listener.line(), listener.line()]
    return printed


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.05)


def test_every_command_that_is_documented_to_differ_is_compared() -> None:
    assert documented() <= ROWS.keys()
