"""``rstore quarantine show``: prints the rows of one tail as they arrive."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any

import typer
from rstore_api.client import prefix_end
from rstore_api.proto.rstore_pb2 import QuarantinedRow

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.errors import UsageError
from rstore_cli.options import Output, OutputOption, StoreName, TimeoutOption
from rstore_cli.output import Document, printable, text_field
from rstore_cli.quarantine.access import Access
from rstore_cli.quarantine.options import TailName

REVISION_WIDTH = 20


@on_cluster
async def show(
    cluster: Cluster,
    name: StoreName,
    tail: TailName,
    key: Annotated[str | None, typer.Option("--key", help="Only this key.", show_default=False)] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Only keys with this prefix.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Print at most this many rows; 0 is no limit.")] = 0,
    timeout: TimeoutOption = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the changes that a tail holds, oldest first: revision, key, and the value or that it was deleted.

    Rows are printed as they arrive, so a tail of any size can be piped on.
    """
    if key is not None and prefix is not None:
        raise UsageError("--key or --prefix, not both", hint=f"rstore quarantine show {name} {tail} --prefix PREFIX")
    start = (prefix if key is None else key) or ""
    end = prefix_end(start.encode()) if key is None and start else b""
    access = await Access.to(cluster, name)
    await _print_rows(access, tail, start.encode(), end, limit, timeout, output)


async def _print_rows(
    access: Access, wanted: str, key: bytes, range_end: bytes, limit: int, timeout_seconds: float, output: Output
) -> None:
    tail = await access.find(wanted)
    document = None if output is Output.TABLE else Document(output)
    if document is None:
        print(f"{'REVISION':<{REVISION_WIDTH}}CHANGE   KEY = VALUE")
    printed = 0
    async with aclosing(access.rows(tail, key=key, range_end=range_end, timeout_seconds=timeout_seconds)) as pages:
        async for page in pages:
            for row in page[: limit - printed] if limit else page:
                if document is not None:
                    document.add(row_data(row))
                else:
                    print(row_text(row))
                printed += 1
            if limit and printed >= limit:
                break
    if document is not None:
        document.end()


def row_data(row: QuarantinedRow) -> dict[str, Any]:
    """Returns one row as plain data. What is not UTF-8 comes as ``keyBase64`` or ``valueBase64``."""
    data = {"revision": row.revision, "sub": row.sub, "change": change_of(row), **text_field("key", row.key)}
    if row.deletion:
        return data
    return {
        **data,
        **text_field("value", row.value),
        "createRevision": row.create_revision,
        "version": row.version,
        "lease": row.lease,
    }


def change_of(row: QuarantinedRow) -> str:
    """Returns what the row did."""
    return "delete" if row.deletion else "put"


def row_text(row: QuarantinedRow) -> str:
    """Returns one row as a line for people."""
    where = f"{row.revision}.{row.sub}" if row.sub else str(row.revision)
    value = "" if row.deletion else f" = {printable(row.value)}"
    return f"{where:<{REVISION_WIDTH}}{change_of(row):<9}{printable(row.key)}{value}"
