"""etcdctl prints the same of a real etcd and of a store, but for what docs/etcd-compatibility.md lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from etcd.etcdctl import EtcdCtl, Printed
from etcd.etcdctl_rows import ROWS, Command
from etcd.servers import Server

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


@pytest.mark.parametrize("name", ROWS)
def test_etcdctl_prints_the_same(servers: tuple[Server, Server], name: str) -> None:
    key = f"{list(ROWS).index(name)}-{name.replace(' ', '-')}/"
    expected, found = (printed(server, EtcdCtl(server), ROWS[name], key) for server in servers)
    differences = [f"{theirs}\n   {mine}" for theirs, mine in zip(expected, found, strict=True) if theirs != mine]
    if name in documented():
        assert differences, f"`{name}` prints the same now: take it out of docs/etcd-compatibility.md"
    else:
        assert not differences, "\n".join(differences)


def test_every_command_that_is_documented_to_differ_is_compared() -> None:
    assert documented() <= ROWS.keys()
