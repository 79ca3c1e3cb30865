"""The command line against stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from rstore_cli import main as command_line
from rstore_cli.cluster import Pod
from unit.cli.fakes import Authority, FakeCluster, FakeReplica, serve


@dataclass(frozen=True)
class Ran:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    monkeypatch.setattr("rstore_cli.commands.Cluster", lambda _target: fake)
    return fake


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``rstore ARGUMENTS`` as the installed script would."""

    def run_it(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["rstore", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("NO_COLOR", "1")
        capsys.readouterr()
        try:
            command_line.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_it


@pytest.fixture
def replicas(cluster: FakeCluster) -> Iterator[dict[str, FakeReplica]]:
    """Four replicas behind mutual TLS, two in the primary region; the last one is not ready."""
    authority = Authority()
    cluster.secrets["orders-client-tls"] = authority.secret()
    made: dict[str, FakeReplica] = {}
    with ExitStack() as stack:
        for name, region in (
            ("orders-us-east-0", "us-east"),
            ("orders-us-east-1", "us-east"),
            ("orders-eu-west-0", "eu-west"),
            ("orders-ap-south-0", "ap-south"),
        ):
            made[name] = FakeReplica()
            cluster.addresses[name] = stack.enter_context(serve(made[name], authority))
            cluster.replicas.append(Pod(name, region, ready=True))
        yield made
