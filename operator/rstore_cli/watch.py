"""``rstore watch``: prints the changes of keys as they come."""

from __future__ import annotations

import json
import sys
from contextlib import aclosing
from typing import Annotated, Any

import typer
import yaml
from rstore_api.errors import Compacted
from rstore_api.proto import kv_pb2

from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import printable, text_field
from rstore_cli.store_access import StoreAccess, on_store


@on_store(timeout_seconds=None)
async def watch(
    store: StoreAccess,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)],
    prefix: Annotated[bool, typer.Option("--prefix", help="Every key that begins with KEY.")] = False,
    from_revision: Annotated[
        int, typer.Option("--from-revision", min=0, help="Changes from this revision on; 0 is from now on.")
    ] = 0,
    prev_kv: Annotated[bool, typer.Option("--prev-kv", help="With what was there before each change.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="End after so many changes; 0 is never.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print changes of one key, or with --prefix of all that begin with it, until it is interrupted.

    It goes on through lost connections and changes of primary, and prints each change once. With -o json each change is
    one line. Exit code 1 when changes that were asked for are compacted.
    """
    if not key and not prefix:
        raise UsageError("a key is required", hint='with --prefix, "" means every key')
    printed = 0
    async with store.open() as client:
        items = client.watch(key.encode(), prefix=prefix, start_revision=from_revision, prev_kv=prev_kv)
        async with aclosing(items):
            try:
                async for changes in items:
                    for event in changes.events:
                        _print(event, output)
                        printed += 1
                        if printed == limit:
                            return
            except Compacted as error:
                again = f"--from-revision {error.compact_revision}"
                raise CliError(
                    str(error), hint=f"{again}, after `rstore get {store.name}` of the keys as they are"
                ) from error


def event_data(event: kv_pb2.Event) -> dict[str, Any]:
    """Returns a change as plain data. What is not UTF-8 comes as ``keyBase64`` or ``valueBase64``."""
    kv, deletion = event.kv, event.type == kv_pb2.Event.DELETE
    data: dict[str, Any] = {
        "type": "DELETE" if deletion else "PUT",
        **text_field("key", kv.key),
        "modRevision": int(kv.mod_revision),
    }
    if not deletion:
        data |= {**text_field("value", kv.value), "createRevision": int(kv.create_revision), "version": int(kv.version)}
    if event.HasField("prev_kv"):
        data["previous"] = {**text_field("value", event.prev_kv.value), "modRevision": int(event.prev_kv.mod_revision)}
    return data


def _print(event: kv_pb2.Event, output: Output) -> None:
    if output is Output.JSON:
        line = json.dumps(event_data(event), ensure_ascii=False)
    elif output is Output.YAML:
        line = "---\n" + yaml.safe_dump(event_data(event), sort_keys=False, allow_unicode=True).rstrip()
    else:
        kv = event.kv
        what = "DELETE" if event.type == kv_pb2.Event.DELETE else "PUT"
        line = "\t".join((str(kv.mod_revision), what, printable(kv.key), printable(kv.value))).rstrip("\t")
        if event.HasField("prev_kv"):
            line += f"\t(was {printable(event.prev_kv.value)})"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
