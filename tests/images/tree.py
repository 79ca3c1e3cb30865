"""The file tree of an image, made without a container engine.

The wheel is built as the Dockerfile builds it. Beside it go links to the installed packages that the extra's
requirements reach, and to no others; Python is then started with that tree and its standard library, and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
"""Imports every module of the package that is its argument, but entrypoints; prints how many there are."""


def build_wheel(directory: Path) -> Path:
    """Build the project's wheel with what is installed here, without the network."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = directory.glob("*.whl")
    return wheel


def requirements_of(wheel: Path, extra: str) -> list[Requirement]:
    """What the wheel's own metadata demands for an extra."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    found = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: ")]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": extra})]


def closure(requirements: list[Requirement]) -> dict[str, Distribution]:
    """Every installed distribution that the requirements reach. Fails when one is missing or of a wrong version."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, frozenset[str]]] = set()
    pending = [(one, one.extras) for one in requirements]
    while pending:
        requirement, extras = pending.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(extras)) in done:
            continue
        done.add((name, frozenset(extras)))
        installed = distribution(requirement.name)
        assert requirement.specifier.contains(installed.version, prereleases=True), f"{requirement} {installed.version}"
        found[name] = installed
        for line in installed.requires or []:
            further = Requirement(line)
            wanted = [{"extra": extra} for extra in ["", *extras]]
            if further.marker is None or any(further.marker.evaluate(environment) for environment in wanted):
                pending.append((further, further.extras))
    return found


@dataclass(frozen=True)
class ImageTree:
    """What /opt/rstore's site-packages would hold."""

    site_packages: Path
    distributions: frozenset[str]

    def files(self) -> frozenset[str]:
        """Every file, to see whether a run wrote something."""
        return frozenset(str(path.relative_to(self.site_packages)) for path in self.site_packages.rglob("*"))

    def run(self, *arguments: str, scratch: Path, timeout_seconds: float = 150) -> subprocess.CompletedProcess[str]:
        """Run Python in the tree as the image would: nothing writable but ``scratch`` (the image's /tmp)."""
        return subprocess.run(
            # -P: no current directory; -S: no site-packages of the environment that runs the tests.
            [sys.executable, "-P", "-S", "-s", *arguments],
            cwd="/",
            env={
                "PYTHONPATH": str(self.site_packages),
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(scratch),
                "HOME": "/nonexistent",
                "PATH": "/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )


def build(wheel: Path, extra: str, site_packages: Path) -> ImageTree:
    """Lay out the wheel and links to the packages that ``extra`` reaches."""
    site_packages.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    found = closure(requirements_of(wheel, extra))
    for installed in found.values():
        for file in installed.files or []:
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            link = site_packages / file
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(Path(str(installed.locate_file(file))).resolve())
    return ImageTree(site_packages, frozenset(found))
