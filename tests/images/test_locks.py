"""What the images install is locked: exact versions of everything that pyproject.toml demands, each with hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from image_build.lock import IMAGES, PYTHON, SETUPTOOLS
from image_build.packages import LOCKS, ROOT, BuildError, closure, locked, locked_closure, requirements_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENTRY = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][^ ]*( \\\n    --hash=sha256:[0-9a-f]{64})+")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEMANDED = {image: PROJECT["project"]["optional-dependencies"][image] for image in IMAGES}
BUILD = [*PROJECT["build-system"]["requires"], SETUPTOOLS]


@pytest.mark.parametrize("name", [*IMAGES, "build"])
def test_a_lock_has_exact_versions_with_hashes_and_nothing_else(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.rstrip("\n"))
    assert [entry for entry in entries if not ENTRY.fullmatch(entry)] == []
    assert len(locked(name)) == len(entries)


@pytest.mark.parametrize("name", [*IMAGES, "build"])
def test_a_lock_satisfies_what_pyproject_demands(name: str) -> None:
    demanded = BUILD if name == "build" else [*PROJECT["project"]["dependencies"], *DEMANDED[name]]
    versions = locked(name)
    for requirement in map(Requirement, demanded):
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in locks/{name}.txt: run make lock"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: {version} is locked"


@pytest.mark.parametrize("image", IMAGES)
def test_a_lock_has_all_that_the_packages_need_and_no_more(image: str, wheel: Path) -> None:
    needed = closure(requirements_of(wheel, image))
    extra = set(locked(image)) ^ set(needed)
    # Backports that are needed on one Python and not on another.
    assert extra <= {"typing-extensions", "async-timeout", "tzdata"}, f"run make lock: {sorted(extra)}"


def test_images_share_the_versions_of_what_they_share() -> None:
    operator, replica = (locked(image) for image in ("operator", "replica"))
    assert {name: operator[name] for name in operator.keys() & replica} == {
        name: replica[name] for name in operator.keys() & replica
    }


def test_the_locks_are_for_the_python_of_the_base_image() -> None:
    assert f"FROM python:{PYTHON}." in (ROOT / "operator" / "Dockerfile").read_text()


def test_an_image_is_not_built_of_other_versions(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locked_closure(wheel, "operator").keys() >= {"kopf", "grpcio"}
    text = (LOCKS / "operator.txt").read_text()
    (tmp_path / "operator.txt").write_text(re.sub(r"^kopf==\S+", "kopf==1.45.999", text, flags=re.MULTILINE))
    monkeypatch.setattr("image_build.packages.LOCKS", tmp_path)
    with pytest.raises(BuildError, match=r"kopf .* is installed, locks/operator.txt has 1\.45\.999"):
        locked_closure(wheel, "operator")
