"""The file tree of an image, made without a container engine.

The wheel is built as the Dockerfile builds it. Beside it go links to the installed packages that the extra's
requirements reach, and to no others; Python is then started with that tree and its standard library, and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from image_build.packages import closure, files_of, requirements_of

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if not name.endswith("__main__") and not name.startswith(tuple(sys.argv[2:])):
        importlib.import_module(name)
print(len(names))
"""
"""Imports every module of the package that is its first argument, but entrypoints and those whose names begin like one
of the further arguments; prints how many there are."""


@dataclass(frozen=True)
class ImageTree:
    """A directory with what /opt/rstore's site-packages would contain."""

    site_packages: Path
    distributions: frozenset[str]

    def files(self) -> frozenset[str]:
        """Returns every file, to see whether a run wrote something."""
        return frozenset(str(path.relative_to(self.site_packages)) for path in self.site_packages.rglob("*"))

    def run(self, *arguments: str, scratch: Path, timeout_seconds: float = 150) -> subprocess.CompletedProcess[str]:
        """Runs Python in the tree as the image would; only ``scratch`` (the image's /tmp) is writable."""
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
    """Lays out the wheel and links to the packages that ``extra`` needs."""
    site_packages.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    reached = closure(requirements_of(wheel, extra))
    for installed in reached.values():
        for path, source in files_of(installed).items():
            link = site_packages / path
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(source)
    return ImageTree(site_packages, frozenset(reached))
