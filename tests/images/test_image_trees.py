"""What the images hold runs: each entrypoint starts from its own dependencies alone, and writes nothing beside /tmp."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from image_build.packages import ROOT
from images.tree import IMPORT_ALL, ImageTree

MODULES = {"replica": "rstore_replica", "operator": "rstore_operator"}


@pytest.fixture(params=sorted(MODULES))
def image(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def tree(image: str, request: pytest.FixtureRequest) -> ImageTree:
    built: ImageTree = request.getfixturevalue(f"{image}_tree")
    return built


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_entrypoint_answers(image: str, tree: ImageTree, option: str, tmp_path: Path) -> None:
    done = tree.run("-m", MODULES[image], option, scratch=tmp_path)
    assert done.returncode == 0, done.stderr
    if option == "--version":
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert version in done.stdout
    else:
        assert "--" in done.stdout


def test_every_module_imports_from_the_images_own_packages(image: str, tree: ImageTree, tmp_path: Path) -> None:
    done = tree.run("-c", IMPORT_ALL, MODULES[image], scratch=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3


def test_a_run_writes_nothing_into_the_tree(image: str, tree: ImageTree, tmp_path: Path) -> None:
    before = tree.files()
    tree.run("-m", MODULES[image], "--help", scratch=tmp_path)
    assert tree.files() == before


def test_the_tree_has_no_development_tools(tree: ImageTree) -> None:
    assert not tree.distributions & {"pytest", "mypy", "ruff", "hypothesis", "pip", "grpcio-tools", "typer"}


def test_each_image_lacks_what_only_the_other_needs(replica_tree: ImageTree, operator_tree: ImageTree) -> None:
    assert not replica_tree.distributions & {"kopf", "kubernetes"}
    assert not operator_tree.distributions & {"lmdb", "pysyncobj", "uvloop"}


def test_a_package_outside_the_extra_is_really_out_of_reach(replica_tree: ImageTree, tmp_path: Path) -> None:
    done = replica_tree.run("-c", "import kopf", scratch=tmp_path)
    assert "No module named 'kopf'" in done.stderr
