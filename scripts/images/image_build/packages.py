"""The wheel of this checkout, and the installed packages that one of its extras needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
_TIMEOUT_SECONDS = 120


class BuildError(RuntimeError):
    """An image cannot be built here; the message says why."""


def build_wheel(directory: Path) -> Path:
    """The project's wheel, built into a directory with what is installed here, without the network.

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
    """What the wheel's own metadata demands for an extra."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    requirements = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: ")]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": extra})]


def closure(requirements: list[Requirement]) -> dict[str, Distribution]:
    """Every installed distribution that the requirements reach, by canonical name.

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


def files_of(installed: Distribution) -> dict[Path, Path]:
    """A distribution's files: path below site-packages → where it is here. Commands and compiled files are left out."""
    return {
        Path(str(file)): Path(str(installed.locate_file(file))).resolve()
        for file in installed.files or []
        if ".." not in file.parts and "__pycache__" not in file.parts
    }
