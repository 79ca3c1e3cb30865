"""``pip install replicated-store[cli]`` is enough for the command line; the local cluster is a package of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from images.tree import IMPORT_ALL, ImageTree, build


@pytest.fixture(scope="module")
def cli_tree(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> ImageTree:
    return build(wheel, "cli", tmp_path_factory.mktemp("cli") / "site-packages")


def test_the_command_line_starts(cli_tree: ImageTree, tmp_path: Path) -> None:
    done = cli_tree.run("-m", "rstore_cli", "--help", scratch=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "failover" in done.stdout


def test_every_module_but_those_of_the_local_cluster_imports(cli_tree: ImageTree, tmp_path: Path) -> None:
    done = cli_tree.run("-c", IMPORT_ALL, "rstore_cli", "rstore_cli.dev.", scratch=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3


def test_without_the_local_cluster_its_commands_say_what_to_install(cli_tree: ImageTree, tmp_path: Path) -> None:
    done = cli_tree.run("-m", "rstore_cli", "dev", "up", "--name", "x", scratch=tmp_path)
    assert done.returncode == 1
    assert "the local cluster is not installed" in done.stderr
    assert "./localcluster" in done.stderr
