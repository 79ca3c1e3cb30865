"""Which program an image stands for on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

INTERPRETERS = ("python", "python3", "/usr/bin/python3", "/usr/local/bin/python", "/usr/local/bin/python3")

DEFAULT_IMAGES: Mapping[str, tuple[str, ...]] = {
    "python": (sys.executable,),
}
"""Base name of an image's repository → the program that it stands for where no other one is given."""


def base_name(image: str) -> str:
    """Returns the last part of the repository, without tag and digest: `ghcr.io/x/replica:1.2@sha256:…` is
    `replica`."""
    repository = image.split("@", 1)[0].rsplit("/", 1)[-1]
    return repository.split(":", 1)[0]


def arguments(
    image: str, command: Sequence[str], args: Sequence[str], images: Mapping[str, Sequence[str]]
) -> tuple[str, ...] | None:
    """Returns the command line of a container; None when the image is not known here.

    As with real images, `command` replaces the entrypoint and `args` follow. A Python interpreter named in `command` is
    the one this process runs.
    """
    entrypoint = images.get(base_name(image))
    if entrypoint is None:
        return None
    start = list(command) or list(entrypoint)
    if start[0] in INTERPRETERS:
        start[0] = sys.executable
    return (*start, *args)
