"""Which archive a command is about, and which state of the past: options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rstore_backup.errors import AccessRefused, ArchiveError, Damaged, DestinationInvalid, WrongStore
from rstore_backup.restoring import archives
from rstore_backup.restoring.archives import Archive
from rstore_backup.restoring.key_table import TableUnusable
from rstore_backup.restoring.plan import AtRevision, AtTime, Latest, Target
from rstore_backup.stores import open_store

from rstore_cli.cluster import Cluster, Object
from rstore_cli.errors import CliError, UsageError

Destination = Annotated[
    str,
    typer.Argument(
        metavar="DESTINATION|NAME",
        help="Where archives are: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder; or "
        "a ReplicatedStore, whose spec.backup says so. Credentials come from the environment, by the names that the "
        "provider's own tools use.",
    ),
]
StoreIdOption = Annotated[
    str | None,
    typer.Option(
        "--store-id",
        help="The id of the store whose archive it is. Needed where DESTINATION has those of several.",
        show_default=False,
    ),
]
EndpointUrlOption = Annotated[
    str,
    typer.Option(
        "--endpoint-url",
        envvar="AWS_ENDPOINT_URL",
        help="The address of an S3-compatible object store.",
        show_default=False,
    ),
]
EpochOption = Annotated[
    int | None,
    typer.Option(
        "--epoch",
        min=1,
        help="On the history that this epoch had, with what a failover has lost of it. Default: that of the newest "
        "epoch.",
        show_default=False,
    ),
]
AT_HELP = "A revision, a time such as 2026-11-29T12:00:00Z, or latest: the last state that the archive has."
TemporaryOption = Annotated[
    Path | None,
    typer.Option(
        "--temporary-folder",
        help="Where a file with the keys is while the command runs. Default: $TMPDIR, or the system's.",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Place:
    """Where to look. ``store_id``: None for whichever store's archive is there."""

    destination: str
    endpoint_url: str
    store_id: str | None


async def place_of(cluster: Cluster, text: str, endpoint_url: str, store_id: str | None) -> Place:
    """Returns where the archive is that a command names: by a URL, or by a store, which is also that of the archive.

    Raises CliError.
    """
    if "://" in text:
        return Place(text, endpoint_url, store_id)
    store = await cluster.store(text)
    backup = store.get("spec", {}).get("backup")
    if not backup:
        raise CliError(f'store "{text}" has no spec.backup', hint="name the destination instead: s3://bucket/prefix")
    if claim := backup.get("volumeClaim"):
        raise CliError(
            f'the archive of store "{text}" is in the volume of the claim "{claim}", in the folder '
            f"{str(backup['destination']).removeprefix('file://')}",
            hint="mount the volume, and name the folder by a URL: file:///folder",
        )
    own_id = str(store.get("status", {}).get("storeId", "")) or None
    return Place(str(backup["destination"]), endpoint_url or str(backup.get("endpoint", "")), store_id or own_id)


async def archives_in(place: Place) -> list[Archive]:
    """Returns the archives in a destination, in the order of their stores' ids. Raises CliError, ArchiveError."""
    found = await archives.archives_in(open_store(place.destination, place.endpoint_url), place.store_id)
    if not found:
        raise CliError(
            f"there is no archive in {place.destination}", hint="an archive has a folder with the store's id there"
        )
    return found


async def find_archive(place: Place, *, without: str | None = None) -> Archive:
    """Returns the archive of a store; without an id the only one that is there, but for that of the store ``without``.

    Raises CliError, ArchiveError.
    """
    found = [archive for archive in await archives_in(place) if archive.card.store_id != without]
    if not found:
        raise CliError(
            f"{place.destination} has the archive of the store itself alone, in which nothing was written",
            hint="`rstore backup list DESTINATION` shows whose archives are there; --store-id names one",
        )
    if len(found) > 1:
        named = ", ".join(archive.described for archive in found)
        raise UsageError(
            f"{place.destination} has the archives of several stores: {named}", hint="name one by --store-id"
        )
    return found[0]


def target_of(text: str) -> Target:
    """Returns what --at says. Raises UsageError."""
    if text == "latest":
        return Latest()
    if text.isdecimal():
        return AtRevision(int(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--at {text} is no revision, no time and not latest", hint=_EXAMPLES) from error
    if time.tzinfo is None:
        raise UsageError(f"--at {text} does not say in which time zone", hint=_EXAMPLES)
    return AtTime(int(time.astimezone(UTC).timestamp() * 1000))


_EXAMPLES = "for example --at 88213, --at 2026-11-29T12:00:00Z, --at 2026-11-29T13:00:00+01:00, --at latest"


def archive_hint(error: ArchiveError) -> str:
    """Returns what a user can do about an error of an archive; "" if its message says so already."""
    match error:
        case AccessRefused():
            return (
                "credentials come from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
            )
        case DestinationInvalid():
            return "a destination is s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder"
        case WrongStore():
            return "`rstore backup list DESTINATION` shows whose archives are there"
        case TableUnusable():
            return "--temporary-folder names another place; it takes as much room as the keys and values"
        case Damaged():
            return "`rstore backup verify DESTINATION` reads all of the archive"
    return ""


def check_archived(name: str, store: Object) -> None:
    """Raises CliError where nothing is archived that could be asked for."""
    backup = store.get("spec", {}).get("backup")
    if not backup:
        raise CliError(f'store "{name}" has no spec.backup, so there is no archive')
    if backup.get("suspend"):
        raise CliError(f'the archive of store "{name}" is suspended', hint="set spec.backup.suspend to false")
