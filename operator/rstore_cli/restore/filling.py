"""Puts a source into an empty store, and compares both, with a bar for each."""

from __future__ import annotations

from dataclasses import dataclass

from rich.progress import Progress
from rstore_api.client import Client
from rstore_api.client.import_parts import ImportSource
from rstore_api.client.importing import Difference, compare, fill
from rstore_api.errors import InvalidAuthToken, PermissionDenied, UserEmpty

from rstore_cli.errors import CliError
from rstore_cli.output import printable


@dataclass(frozen=True)
class Filled:
    """The store's revision; ``compared``: every key was compared, which auth that came with the source may forbid."""

    revision: int
    compared: bool


async def fill_and_compare(
    client: Client, source: ImportSource, name: str, *, revision_jump: int, timeout_seconds: float, progress: Progress
) -> Filled:
    """Fills the store with the source; ``name`` is the source's in errors. Raises CliError where they differ then,
    StoreError, and what the source raises.
    """
    filling = progress.add_task("restoring", total=len(source))
    comparing = progress.add_task("comparing", total=len(source))
    revision = await fill(
        client,
        source,
        revision_jump=revision_jump,
        timeout_seconds=timeout_seconds,
        advance=lambda keys: progress.advance(filling, keys),
    )
    try:
        difference = await compare(
            client,
            source,
            revision,
            timeout_seconds=timeout_seconds,
            advance=lambda keys: progress.advance(comparing, keys),
        )
    except (UserEmpty, PermissionDenied, InvalidAuthToken):
        if source.auth:
            return Filled(revision, compared=False)
        raise
    if difference is not None:
        raise CliError(f"the store is not what {name} is: {_described(difference)}")
    return Filled(revision, compared=True)


def _described(difference: Difference) -> str:
    key = printable(difference.key)
    if difference.in_store is None:
        return f"{key} is missing"
    if difference.in_source is None:
        return f"{key} is in the store alone"
    return f"{key} is different"
