"""``python -m image_build [--prefix REGISTRY/PATH] [--out FOLDER]``: both images without a container engine.

Below the folder: ``operator/rootfs`` and ``replica/rootfs``, an OCI archive of each, which `ctr images import`,
`kind load image-archive`, `minikube image load` and `docker load` take, and a CycloneDX list of what is in it. Where a
container engine answers, the Dockerfiles are built as well."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from image_build import oci, rootfs, sbom
from image_build.dockerfile import Stage, parse
from image_build.packages import ROOT, BuildError, build_wheel, locked_closure

DOCKERFILES = {"operator": ROOT / "operator" / "Dockerfile", "replica": ROOT / "replica_image" / "Dockerfile"}
"""The Dockerfile of each image; the image's name is also the extra of the wheel that it installs."""
_ENGINES = ("docker", "podman")
_BUILD_SECONDS = 1800


def settings(image: str) -> Stage:
    """Returns the stage of an image's Dockerfile that says how its process is started."""
    return parse(DOCKERFILES[image].read_text())[-1]


def image_name(image: str, prefix: str) -> str:
    """Returns ``prefix/replicated-store-<image>:<version>``; without a prefix the name alone."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"{prefix.rstrip('/')}/" * bool(prefix) + f"replicated-store-{image}:{version}"


def engine() -> str | None:
    """Returns a container engine that answers here, or None."""
    for name in _ENGINES:
        path = shutil.which(name)
        if path and subprocess.run([path, "info"], capture_output=True, check=False, timeout=60).returncode == 0:
            return path
    return None


def main(arguments: list[str]) -> int:
    """Builds every image; returns 0 if all were built."""
    parser = argparse.ArgumentParser(prog="image_build", description=__doc__)
    parser.add_argument("--prefix", default="", help="registry and path put before both names")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "images")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="rstore-wheel-") as directory:
            wheel = build_wheel(Path(directory))
            for image in DOCKERFILES:
                _build(image, wheel, options.out, image_name(image, options.prefix))
    except BuildError as error:
        print(f"images: error: {error}", file=sys.stderr)
        return 1
    return _build_with_engine(options.prefix)


def _build(image: str, wheel: Path, out: Path, name: str) -> None:
    root = out / image / "rootfs"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    packages = locked_closure(wheel, image).values()
    rootfs.build(root, wheel, packages)
    archive = out / f"{name.rpartition('/')[2].replace(':', '-')}.tar"
    oci.write(archive, root, settings(image), name)
    short, _, version = name.rpartition("/")[2].partition(":")
    libraries = (root / rootfs.LIBRARIES).iterdir()
    sbom.write(archive.with_suffix(".cdx.json"), sbom.bill_of_materials(short, version, packages, libraries))
    print(f"images: {oci.full_name(name)}: {root} and {archive} ({archive.stat().st_size / 1e6:.0f} MB)")


def _build_with_engine(prefix: str) -> int:
    path = engine()
    if path is None:
        print("images: no container engine answers here, so the Dockerfiles were not built")
        return 0
    for image, dockerfile in DOCKERFILES.items():
        name = image_name(image, prefix)
        command = [path, "build", "--file", str(dockerfile), "--tag", name, str(ROOT)]
        if subprocess.run(command, check=False, timeout=_BUILD_SECONDS).returncode != 0:
            print(f"images: error: {' '.join(command)} failed", file=sys.stderr)
            return 1
        print(f"images: {name} built by {Path(path).name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
