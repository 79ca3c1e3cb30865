"""Builds the wheel of this checkout, and finds the installed packages that one of its extras needs."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ROOT / "locks"
_LOCKED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>\S+)", re.MULTILINE)
_TIMEOUT_SECONDS = 120


class BuildError(RuntimeError):
    """An image cannot be built here; the message says why."""


def build_wheel(directory: Path) -> Path:
    """Builds the project's wheel into a directory, with the installed tools and without the network.

    Raises:
        BuildError: the build failed; the message is its output.
    """
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        raise BuildError(f"the wheel cannot be built: {done.stderr.strip()}")
    (wheel,) = directory.glob("*.whl")
    return wheel


def requirements_of(wheel: Path, extra: str) -> list[Requirement]:
    """Returns what the wheel's own metadata demands for an extra."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    requirements = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: ")]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": extra})]


def closure(requirements: list[Requirement]) -> dict[str, Distribution]:
    """Returns every installed distribution that the requirements reach, by canonical name.

    Raises:
        BuildError: one is missing or of a wrong version; `make setup` installs them.
    """
    reached: dict[str, Distribution] = {}
    done: set[tuple[str, frozenset[str]]] = set()
    pending = [(one, one.extras) for one in requirements]
    while pending:
        requirement, extras = pending.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(extras)) in done:
            continue
        done.add((name, frozenset(extras)))
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError as error:
            raise BuildError(f"{requirement} is not installed; run `make setup`") from error
        if not requirement.specifier.contains(installed.version, prereleases=True):
            raise BuildError(f"{requirement} is needed, {installed.version} is installed; run `make setup`")
        reached[name] = installed
        for line in installed.requires or []:
            further = Requirement(line)
            environments = [{"extra": extra} for extra in ["", *extras]]
            if further.marker is None or any(further.marker.evaluate(environment) for environment in environments):
                pending.append((further, further.extras))
    return reached


def locked(name: str) -> dict[str, str]:
    """Returns the versions in a lock, by canonical name."""
    text = (LOCKS / f"{name}.txt").read_text()
    return {canonicalize_name(one["name"]): one["version"] for one in _LOCKED.finditer(text)}


def locked_closure(wheel: Path, image: str) -> dict[str, Distribution]:
    """Returns every installed distribution that an image needs, by canonical name.

    Raises:
        BuildError: one is missing, or its version is not the one that is locked.
    """
    reached, versions = closure(requirements_of(wheel, image)), locked(image)
    for name, installed in reached.items():
        if versions.get(name, installed.version) != installed.version:
            expected = f"locks/{image}.txt has {versions[name]}"
            raise BuildError(f"{name} {installed.version} is installed, {expected}; run `make clean setup`")
    return reached


def files_of(installed: Distribution) -> dict[Path, Path]:
    """Returns a distribution's files, by path below site-packages. Commands and compiled files are left out."""
    return {
        Path(str(file)): Path(str(installed.locate_file(file))).resolve()
        for file in installed.files or []
        if ".." not in file.parts and "__pycache__" not in file.parts
    }
