"""``rstore lease list | show | revoke``: etcd's leases in a store, their ids in hexadecimal as etcdctl writes them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rstore_api import methods
from rstore_api.errors import LeaseNotFound
from rstore_api.proto import rpc_pb2

from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import emit, printable, table, text_field
from rstore_cli.store_access import StoreAccess, on_store

app = typer.Typer(
    name="lease",
    help="Look at etcd's leases: keys that exist for as long as a client renews their lease.",
    no_args_is_help=True,
)
LeaseId = Annotated[
    str, typer.Argument(metavar="LEASE", help="The id in hexadecimal, as list shows it.", show_default=False)
]
MAX_BITS = 64


@app.command("list")
@on_store()
async def list_leases(
    store: StoreAccess,
    output: OutputOption = Output.TABLE,
) -> None:
    """List all leases, those that end first at first."""
    async with store.open() as client:
        request = rpc_pb2.LeaseLeasesRequest()
        response = await client.call(methods.LEASE_LEASES, request, timeout_seconds=store.timeout_seconds)
    ids = [written(lease.ID) for lease in response.leases]

    def render(console: Console) -> None:
        console.print(table(("LEASE",), [(each,) for each in ids]))

    emit({"revision": int(response.header.revision), "leases": [{"id": each} for each in ids]}, output, render)


@app.command("show")
@on_store()
async def show(
    store: StoreAccess,
    lease: LeaseId,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show how long a lease still lives, and its keys. Exit code 1 when it does not exist."""
    request = rpc_pb2.LeaseTimeToLiveRequest(ID=parse(lease), keys=True)
    async with store.open() as client:
        response = await client.call(methods.LEASE_TIME_TO_LIVE, request, timeout_seconds=store.timeout_seconds)
    if response.TTL < 0:
        raise CliError(f'lease "{lease}" does not exist')
    left, granted = int(response.TTL), int(response.grantedTTL)

    def render(console: Console) -> None:
        console.print(f"{left} s left of {granted} s")
        console.print(table(("KEY",), [(printable(key),) for key in response.keys]))

    data = {
        "id": written(response.ID),
        "remainingSeconds": left,
        "grantedSeconds": granted,
        "keys": [text_field("key", key) for key in response.keys],
    }
    emit(data, output, render)


@app.command("revoke")
@on_store()
async def revoke(
    store: StoreAccess,
    lease: LeaseId,
    output: OutputOption = Output.TABLE,
) -> None:
    """End a lease now, and delete its keys. Exit code 1 when it does not exist."""
    request = rpc_pb2.LeaseRevokeRequest(ID=parse(lease))
    async with store.open() as client:
        try:
            response = await client.call(methods.LEASE_REVOKE, request, timeout_seconds=store.timeout_seconds)
        except LeaseNotFound as error:
            raise CliError(f'lease "{lease}" does not exist') from error
    revision = int(response.header.revision)
    data = {"id": written(request.ID), "revision": revision}
    emit(data, output, lambda console: console.print(f"OK revision {revision}"))


def parse(lease: str) -> int:
    """Returns the id that is written in hexadecimal. Raises UsageError."""
    try:
        number = int(lease, 16)
    except ValueError:
        number = 0
    if not 0 < number < 1 << MAX_BITS:
        raise UsageError(
            f'"{lease}" is not the id of a lease',
            hint="ids are hexadecimal, such as 7ee5a227; `rstore lease list NAME`",
        )
    return number - (1 << MAX_BITS) if number >> (MAX_BITS - 1) else number


def written(lease: int) -> str:
    """Returns an id as etcdctl writes it."""
    return f"{lease % (1 << MAX_BITS):x}"
