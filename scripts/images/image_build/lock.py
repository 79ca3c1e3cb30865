"""``make lock``: writes `locks`, the exact versions that the images install, with the hashes of all their files.

Versions that are locked already stay; ``--upgrade`` takes the newest ones that pyproject.toml allows.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib

from image_build.packages import ROOT

IMAGES = ("operator", "replica")
"""Names of images, each also the name of the extra that it installs, and of its lock."""
PYTHON = "3.12"
"""The Python of the Dockerfiles' base image."""
SETUPTOOLS = "setuptools"
"""Builds PySyncObj, which is published as source only."""


def main(arguments: list[str]) -> int:
    """Writes one lock for each image, and one for what builds packages; 0 if all were written.

    A package that several of them have, has the same version in all.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    builders = "\n".join([*project["build-system"]["requires"], SETUPTOOLS])
    options = ["--generate-hashes", "--python-version", PYTHON, "--python-platform", "linux", "--quiet"]
    written: list[str] = []
    for name in (*IMAGES, "build"):
        source = ["pyproject.toml", f"--extra={name}"] if name in IMAGES else ["-"]
        lock = f"locks/{name}.txt"
        target = ["--no-header", "--no-annotate", f"--output-file={lock}", *(f"--constraint={one}" for one in written)]
        command = [sys.executable, "-m", "uv", "pip", "compile", *source, *options, *target, *arguments]
        if subprocess.run(command, cwd=ROOT, input=builders, text=True, check=False).returncode != 0:
            return 1
        print(f"lock: {lock}")
        written.append(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
