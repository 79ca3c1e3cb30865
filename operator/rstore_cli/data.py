"""``rstore put | get | del``: single reads and writes, for people and scripts."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rstore_api.client import prefix_end
from rstore_api.proto import rpc_pb2

from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import emit, printable, table, text_field
from rstore_cli.store_access import StoreAccess, on_store

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)]


@on_store()
async def put(
    store: StoreAccess,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help='The value; "-" reads it from standard input.')],
    output: OutputOption = Output.TABLE,
) -> None:
    """Write one key."""
    if not key:
        raise UsageError("a key is required", hint=f"rstore put {store.name} KEY VALUE")
    content = sys.stdin.buffer.read() if value == "-" else value.encode()
    async with store.open() as client:
        response = await client.put(key.encode(), content, timeout_seconds=store.timeout_seconds)
    revision = int(response.header.revision)
    emit({"key": key, "revision": revision}, output, lambda console: console.print(f"OK revision {revision}"))


@on_store()
async def get(
    store: StoreAccess,
    key: Key,
    prefix: Annotated[bool, typer.Option("--prefix", help="Every key that begins with KEY.")] = False,
    revision: Annotated[int, typer.Option("--rev", min=0, help="As of this revision; 0 is now.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Return at most this many keys; 0 is no limit.")] = 0,
    local: Annotated[
        bool,
        typer.Option("--serializable", help="The replica's own copy, which may be behind, without asking the primary."),
    ] = False,
    value_only: Annotated[bool, typer.Option("--print-value-only", help="Print only the raw values.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Read one key, or with --prefix all that begin with it. Exit code 1 when a single key does not exist."""
    start = key.encode()
    if not start and not prefix:
        raise UsageError("a key is required", hint='with --prefix, "" means every key')
    request = rpc_pb2.RangeRequest(
        key=start or b"\0",
        range_end=prefix_end(start) if prefix else b"",
        revision=revision,
        limit=limit,
        serializable=local,
    )
    async with store.open() as client:
        response = await client.range(request, timeout_seconds=store.timeout_seconds)
    if not response.kvs and not prefix:
        raise CliError(f'key "{key}" does not exist at revision {revision or response.header.revision}')
    if value_only:
        for kv in response.kvs:
            sys.stdout.buffer.write(kv.value + (b"\n" if prefix or sys.stdout.isatty() else b""))
        sys.stdout.buffer.flush()
        return
    emit(range_data(response), output, lambda console: _print_range(console, response))


@on_store()
async def delete(
    store: StoreAccess,
    key: Key,
    prefix: Annotated[bool, typer.Option("--prefix", help="Every key that begins with KEY.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete one key, or with --prefix all that begin with it; prints how many there were."""
    if not key:
        raise UsageError("a key is required", hint="deleting every key is not offered here; etcdctl can do it")
    async with store.open() as client:
        response = await client.delete(key.encode(), prefix=prefix, timeout_seconds=store.timeout_seconds)
    deleted, revision = int(response.deleted), int(response.header.revision)
    emit(
        {"key": key, "deleted": deleted, "revision": revision},
        output,
        lambda console: console.print(f"deleted {deleted} revision {revision}"),
    )


def range_data(response: rpc_pb2.RangeResponse) -> dict[str, Any]:
    """Returns A range response as plain data. What is not UTF-8 comes as ``keyBase64`` or ``valueBase64``."""
    items = []
    for kv in response.kvs:
        items.append(
            {
                **text_field("key", kv.key),
                **text_field("value", kv.value),
                "createRevision": int(kv.create_revision),
                "modRevision": int(kv.mod_revision),
                "version": int(kv.version),
            }
        )
    return {
        "revision": int(response.header.revision),
        "count": int(response.count),
        "more": response.more,
        "kvs": items,
    }


def _print_range(console: Console, response: rpc_pb2.RangeResponse) -> None:
    rows = [
        (
            printable(kv.key),
            printable(kv.value),
            str(kv.mod_revision),
            str(kv.version),
        )
        for kv in response.kvs
    ]
    console.print(table(("KEY", "VALUE", "REVISION", "VERSION"), rows))
    if response.more:
        console.print(f"{len(rows)} of {response.count} keys")
