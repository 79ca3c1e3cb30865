"""``pip install replicated-store[cli]`` is enough for the command line and the embedded cluster."""

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


@pytest.mark.parametrize("package", ["rstore_cli", "localkube"])
def test_every_module_imports(cli_tree: ImageTree, package: str, tmp_path: Path) -> None:
    done = cli_tree.run("-c", IMPORT_ALL, package, scratch=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3
