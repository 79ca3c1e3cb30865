"""``rstore backup verify``: reads a whole archive, and compares its end with a store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rstore_api.domain.hashes import format_hash
from rstore_api.errors import Compacted
from rstore_backup.restoring.archives import Archive
from rstore_backup.restoring.plan import NotRestorable, Target, missing
from rstore_backup.restoring.restore import restorable
from rstore_backup.restoring.verifying import Checked
from rstore_backup.restoring.verifying import verify as check

from rstore_cli.archives import (
    AT_HELP,
    Destination,
    EndpointUrlOption,
    EpochOption,
    StoreIdOption,
    TemporaryOption,
    find_archive,
    place_of,
    target_of,
)
from rstore_cli.errors import CliError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import bars, emit, size
from rstore_cli.store_access import StoreAccess, on_store

AgainstOption = Annotated[
    str,
    typer.Option(
        "--against",
        metavar="NAME",
        help="Compare the state at --at with what a region of this store has at the same revision (HashKV).",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Rebuilt:
    """The state at the revision that was asked for."""

    revision: int
    keys: int
    hash: int


@on_store(timeout_seconds=30.0, named_by=(AgainstOption, ""))
async def verify(
    store: StoreAccess,
    destination: Destination,
    store_id: StoreIdOption = None,
    at: Annotated[str, typer.Option("--at", metavar="REVISION|TIME|latest", help=AT_HELP)] = "latest",
    epoch: EpochOption = None,
    endpoint_url: EndpointUrlOption = "",
    temporary_folder: TemporaryOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Read all of an archive: every checksum and digest, that the segments follow each other, and that the newest base
    is what the rows before it lead to. Exit code 1 when anything is damaged, missing or different.
    """
    target, against = target_of(at), store.name
    if against and store_id is None:
        store_id = str((await store.cluster.store(against)).get("status", {}).get("storeId", "")) or None
    archive = await find_archive(await place_of(store.cluster, destination, endpoint_url, store_id))
    with bars() as progress:
        checked = await _read_all(archive, progress, temporary_folder)
        problems = _problems(checked)
        rebuilt: Rebuilt | None = None
        try:
            rebuilt = await _rebuild(archive, progress, target, epoch, temporary_folder)
        except NotRestorable as error:
            problems.append(str(error))
    theirs: int | None = None
    if against and rebuilt is not None:
        theirs = await _hash_of(store, rebuilt.revision)
        if theirs != rebuilt.hash:
            problems.append(
                f"at revision {rebuilt.revision} the archive's hash is {format_hash(rebuilt.hash)}, and {against} has "
                f"{format_hash(theirs)}"
            )
    data = _data(checked, rebuilt, theirs, problems)
    emit(data, output, lambda console: _print(console, data, against))
    if problems:
        raise typer.Exit(1)


async def _rebuild(
    archive: Archive, progress: Progress, target: Target, epoch: int | None, folder: Path | None
) -> Rebuilt:
    rebuilding = progress.add_task("rebuilding", total=None)
    restored = await restorable(
        archive.objects,
        archive.card.store_id,
        target,
        epoch=epoch,
        directory=folder,
        begin=lambda objects: progress.reset(rebuilding, total=objects),
        advance=lambda objects: progress.advance(rebuilding, objects),
    )
    with restored.table:
        return Rebuilt(restored.plan.revision, len(restored.table), await asyncio.to_thread(restored.table.hash))


async def _hash_of(store: StoreAccess, revision: int) -> int:
    async with store.open() as client:
        try:
            return int((await client.hash_kv(revision, timeout_seconds=store.timeout_seconds)).hash)
        except Compacted as error:
            raise CliError(
                f"{store.name} has compacted revision {revision}, so it cannot be compared there",
                hint="without --at the newest state of the archive is compared",
            ) from error


async def _read_all(archive: Archive, progress: Progress, folder: Path | None) -> Checked:
    reading = progress.add_task("reading", total=None)
    return await check(
        archive.objects,
        archive.card.store_id,
        directory=folder,
        begin=lambda objects: progress.reset(reading, total=objects),
        advance=lambda objects: progress.advance(reading, objects),
    )


def _problems(checked: Checked) -> list[str]:
    problems = [f"damaged: {damage}" for damage in checked.catalogue.damaged]
    line = checked.catalogue.line()
    if line is not None:
        problems += [missing(hole) for hole in line.holes if hole not in checked.new_beginnings]
        problems += [f"{refused.name} cannot be used: {refused.reason}" for refused in line.refused]
    problems += [
        f"the base at revision {revision} is not what the rows before it lead to"
        for revision in checked.different_bases
    ]
    return problems


def _data(checked: Checked, rebuilt: Rebuilt | None, theirs: int | None, problems: list[str]) -> dict[str, Any]:
    data: dict[str, Any] = {
        "objects": checked.objects,
        "sizeBytes": checked.size_bytes,
        "comparedBases": list(checked.compared_bases),
        "newBeginnings": [missing(hole) for hole in checked.new_beginnings],
        "problems": problems,
    }
    if rebuilt is not None:
        data |= {"revision": rebuilt.revision, "keys": rebuilt.keys, "hash": format_hash(rebuilt.hash)}
    return data if theirs is None else {**data, "storeHash": format_hash(theirs)}


def _print(console: Console, data: dict[str, Any], against: str) -> None:
    console.print(f"{data['objects']} objects of {size(data['sizeBytes'])} are whole")
    for beginning in data["newBeginnings"]:
        console.print(beginning)
    for revision in data["comparedBases"]:
        console.print(f"the base at revision {revision} is what the rows before it lead to")
    if "hash" in data:
        console.print(f"at revision {data['revision']} there are {data['keys']} keys, hash {data['hash']}")
        if data.get("storeHash") == data["hash"]:
            console.print(f"{against} has the same at that revision", style="green")
    for problem in data["problems"]:
        console.print(problem, style="red")
