"""What the images hold runs: each entrypoint starts from its own dependencies alone, and writes nothing beside /tmp."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import pytest
from image_build.packages import ROOT
from images.tree import IMPORT_ALL, ImageTree

OURS = {"rstore_api", "rstore_backup", "rstore_cli", "rstore_kube", "rstore_operator", "rstore_replica", "rstore_wire"}
_HTTP = {
    *("aiohappyeyeballs", "aiohttp", "aiosignal", "attrs", "frozenlist", "idna", "multidict", "propcache", "yarl"),
    "typing-extensions",
}
_GRPC_AND_TLS = {"cffi", "cryptography", "grpcio", "protobuf", "pycparser"}
DISTRIBUTIONS = {
    "replica": _HTTP
    | _GRPC_AND_TLS
    | {
        "bcrypt",
        "cronsim",
        "google-crc32c",
        "grpcio-health-checking",
        "grpcio-reflection",
        "h11",
        "hpack",
        "lmdb",
        "msgspec",
    }
    | {"obstore", "prometheus-client", "pysyncobj", "structlog", "uvloop"},
    "operator": _HTTP
    | _GRPC_AND_TLS
    | {"cronsim", "kopf", "annotated-types", "click", "iso8601", "jsonpatch", "jsonpointer", "python-json-logger"}
    | {"msgspec", "prometheus-client", "pydantic", "pydantic-core", "typing-inspection", "pyyaml", "structlog"}
    | {"kubernetes", "aiohttp-retry", "certifi", "charset-normalizer", "durationpy", "oauthlib", "python-dateutil"}
    | {"requests", "requests-oauthlib", "tzdata", "urllib3", "websocket-client"},
}
"""By image, every distribution in it besides our wheel."""
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


def test_the_wheel_holds_these_packages_of_ours_and_no_others(wheel: Path) -> None:
    """Neither the local cluster, nor the test kit, nor an oracle of the tests is in an image."""
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == OURS


def test_the_tree_holds_the_wheel_and_these_distributions(image: str, tree: ImageTree) -> None:
    """A new distribution that a dependency brings with it fails this test, so that it is reviewed first."""
    assert tree.distributions == DISTRIBUTIONS[image]


def test_each_image_lacks_what_only_the_other_needs(replica_tree: ImageTree, operator_tree: ImageTree) -> None:
    assert not replica_tree.distributions & {"kopf", "kubernetes"}
    assert not operator_tree.distributions & {"lmdb", "pysyncobj", "uvloop"}


def test_a_package_outside_the_extra_is_really_out_of_reach(replica_tree: ImageTree, tmp_path: Path) -> None:
    done = replica_tree.run("-c", "import kopf", scratch=tmp_path)
    assert "No module named 'kopf'" in done.stderr
