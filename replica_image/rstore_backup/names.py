"""How the objects of a store's archive are called, below ``<destination>/<store id>/``."""

from __future__ import annotations

import re

STORE = "store.json"
SEGMENTS = "segments"
BASES = "bases"
MANIFEST = "manifest.json"
_SEGMENT = re.compile(r"segments/([0-9a-f]{16})/([0-9a-f]{16})\.rsl")
_MANIFEST = re.compile(r"bases/([0-9a-f]{16})/manifest\.json")


def segment(epoch: int, first_revision: int) -> str:
    """Returns the name of the segment of an epoch that begins with a revision. The names are in the order of both."""
    return f"{SEGMENTS}/{epoch:016x}/{first_revision:016x}.rsl"


def parse_segment(name: str) -> tuple[int, int] | None:
    """Returns epoch and first revision of a segment's name, None for the name of anything else."""
    match = _SEGMENT.fullmatch(name)
    return (int(match[1], 16), int(match[2], 16)) if match else None


def base(revision: int) -> str:
    """Returns the folder of the base at a revision."""
    return f"{BASES}/{revision:016x}"


def part(revision: int, number: int, attempt: str) -> str:
    """Returns the name of a part of a base. An ``attempt`` that died half-way leaves parts that nobody reads."""
    return f"{base(revision)}/part-{number:05d}-{attempt}.rsb"


def manifest(revision: int) -> str:
    """Returns the name of the object that makes a base one."""
    return f"{base(revision)}/{MANIFEST}"


def parse_manifest(name: str) -> int | None:
    """Returns the revision of a manifest's name, None for the name of anything else."""
    match = _MANIFEST.fullmatch(name)
    return int(match[1], 16) if match else None
