"""What `make images` makes: a tree in which the entrypoint runs alone, and an archive that runtimes can load."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from image_build import oci, rootfs
from image_build.__main__ import DOCKERFILES, image_name, settings
from image_build.packages import ROOT, BuildError, closure, locked_closure
from packaging.requirements import Requirement

NAME = "registry.example.com/team/replicated-store-replica:0.1.0"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def root(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The replica image's root file tree."""
    root = tmp_path_factory.mktemp("root")
    rootfs.build(root, wheel, locked_closure(wheel, "replica").values())
    return root


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "program").write_text("text")
    (root / "bin" / "link").symlink_to("/bin/program")
    return root


def blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}


def blob(content: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    blob: bytes = content["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(blob) == descriptor["size"]
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    return blob


def environment(root: Path) -> dict[str, str]:
    """Returns the image's environment, for a process outside of it."""
    home = root / rootfs.PREFIX
    site_packages = root / rootfs.ENVIRONMENT / "lib" / PYTHON / "site-packages"
    return {"PYTHONHOME": str(home), "PYTHONPATH": str(site_packages), "PYTHONDONTWRITEBYTECODE": "1"}


def test_the_entrypoint_runs_with_the_trees_own_loader_and_libraries(root: Path) -> None:
    (loader,) = (path for path in root.glob("lib*/ld-*"))
    program = root / rootfs.PREFIX / "bin" / PYTHON
    command = [str(loader), "--library-path", str(root / rootfs.LIBRARIES), str(program), "-S", "-m", "rstore_replica"]
    done = subprocess.run(
        [*command, "--version"], env=environment(root), capture_output=True, text=True, check=False, timeout=150
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (done.returncode, done.stdout.strip()) == (0, version), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root folder of a process")
def test_the_entrypoint_runs_inside_the_tree_as_its_user(root: Path) -> None:
    command = [str(shutil.which("chroot")), f"--userspec={rootfs.USER_ID}:{rootfs.USER_ID}", str(root)]
    done = subprocess.run(
        [*command, "/opt/rstore/bin/python", "-m", "rstore_replica", "--version"],
        env={"LD_LIBRARY_PATH": f"/{rootfs.LIBRARIES}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr


def test_the_tree_holds_python_and_the_environment_and_no_shell(root: Path) -> None:
    programs = {path.name for path in root.rglob("*") if path.is_file() and "bin" in path.parts}
    assert programs == {PYTHON, "python", "python3"} & programs
    names = {path.name for path in (root / rootfs.ENVIRONMENT / "lib" / PYTHON / "site-packages").iterdir()}
    assert {
        "rstore_wire",
        "rstore_api",
        "rstore_backup",
        "rstore_replica",
        "lmdb",
        "pysyncobj",
        "uvloop",
        "grpc",
        "msgspec",
    } <= names
    assert not names & {"kopf", "kubernetes", "pytest", "pip", "typer", "celpy"}
    assert not (root / rootfs.PREFIX / "lib" / PYTHON / "test").exists()


def test_an_archive_is_an_image_layout_with_the_dockerfiles_settings(small_tree: Path, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    oci.write(archive, small_tree, settings("replica"), NAME)
    content = blobs(archive)
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(content["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "0.1.0"}
    manifest = json.loads(blob(content, entry))
    config = json.loads(blob(content, manifest["config"]))
    (layer,) = manifest["layers"]
    unpacked = gzip.decompress(blob(content, layer))
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["python", "-m", "rstore_replica"]
    assert config["config"]["User"] == "65532:65532"
    assert "PATH=/opt/rstore/bin:/usr/bin:/bin" in config["config"]["Env"]
    assert set(config["config"]["ExposedPorts"]) == {"2379/tcp", "2380/tcp", "9090/tcp"}
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    (for_docker,) = json.loads(content["manifest.json"])
    assert for_docker["RepoTags"] == [NAME]
    assert {for_docker["Config"], *for_docker["Layers"]} <= content.keys()


def test_the_same_tree_gives_the_same_bytes(small_tree: Path, tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        oci.write(tmp_path / name, small_tree, settings("operator"), "a:1")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("replica:1", "docker.io/library/replica:1"),
        ("team/replica:1", "docker.io/team/replica:1"),
        ("localhost/replica:1", "localhost/replica:1"),
        ("registry:5000/replica:1", "registry:5000/replica:1"),
        ("registry.example.com/team/replica:1", "registry.example.com/team/replica:1"),
    ],
)
def test_names_are_completed_as_runtimes_complete_them(name: str, full: str) -> None:
    assert oci.full_name(name) == full


@pytest.mark.parametrize("prefix", ["", "registry.example.com/team", "registry.example.com/team/"])
def test_names_are_the_charts_defaults_behind_the_prefix(prefix: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for image in DOCKERFILES:
        name = image_name(image, prefix)
        assert name == f"{'registry.example.com/team/' if prefix else ''}replicated-store-{image}:{version}"


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(BuildError, match=r"no-such-package.*make setup"):
        closure([Requirement("no-such-package>=1")])
