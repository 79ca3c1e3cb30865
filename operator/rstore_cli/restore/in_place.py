"""``rstore restore --in-place``: makes the keys of a running store what they were, by ordinary writes."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rstore_api.client.key_values import prefix_end
from rstore_api.errors import Compacted
from rstore_backup.restoring import in_place
from rstore_backup.restoring.difference import Kind
from rstore_backup.restoring.in_place import EVERYTHING, Preview, Range, Written

from rstore_cli.errors import CliError
from rstore_cli.output import bars, emit, printable, table, text_field
from rstore_cli.restore.from_archive import Past, read_past
from rstore_cli.restore.into import Into

_VERBS = {Kind.CREATE: "put back", Kind.OVERWRITE: "overwrite", Kind.DELETE: "delete"}


async def restore_in_place(into: Into, past: Past, prefixes: list[str], *, previewed: int | None, really: bool) -> None:
    """Shows how the store differs from the past state, or writes that. Raises ArchiveError, CliError, StoreError."""
    ranges = ranges_of(prefixes)
    with bars() as progress:
        async with read_past(past, progress) as restored, into.store.open() as client:
            now = await client.get(b"\0", timeout_seconds=into.store.timeout_seconds)
            revision = previewed or now.header.revision
            keys = restored.table.keys
            try:
                shown = await in_place.preview(
                    client,
                    lambda within: keys(*within),
                    ranges,
                    revision=revision,
                    timeout_seconds=into.store.timeout_seconds,
                )
                written: Written | None = None
                if really:
                    writing = progress.add_task("writing", total=shown.total)
                    written = await in_place.write(
                        client,
                        lambda within: keys(*within),
                        ranges,
                        revision=revision,
                        timeout_seconds=into.store.timeout_seconds,
                        advance=lambda changes: progress.advance(writing, changes),
                    )
            except Compacted as error:
                raise CliError(
                    f"revision {revision} of {into.store.name}, with which the past state was compared, is compacted "
                    "by now",
                    hint="make a new preview: repeat the command without --yes and without --previewed",
                ) from error
    past_revision = restored.plan.revision
    emit(
        _data(shown, written, past_revision),
        into.output,
        lambda console: _print(console, into.store.name, shown, written, past_revision),
    )
    if written is not None and written.conflicts:
        named = ", ".join(printable(change.key) for change in written.first_conflicts)
        raise CliError(
            f"left alone, since they were written after revision {revision}: {written.conflicts} keys ({named})",
            hint="a new preview shows them",
        )


def ranges_of(prefixes: list[str]) -> list[Range]:
    """Returns the ranges of the prefixes, in order and none inside another; everything without any."""
    ranges: list[Range] = []
    for prefix in sorted({prefix.encode() for prefix in prefixes}):
        if not ranges or not (ranges[-1][0] <= prefix and (ranges[-1][1] == b"\0" or prefix < ranges[-1][1])):
            ranges.append((prefix or b"\0", prefix_end(prefix)))
    return ranges or [EVERYTHING]


def _data(shown: Preview, written: Written | None, past_revision: int) -> dict[str, Any]:
    data: dict[str, Any] = {
        "archivedRevision": past_revision,
        "comparedRevision": shown.revision,
        "changes": {kind.value: shown.counts[kind] for kind in Kind},
        "same": shown.same,
        "leased": shown.leased,
        "firstKeys": [{**text_field("key", change.key), "change": change.kind.value} for change in shown.first],
    }
    if written is not None:
        data |= {"written": written.made, "conflicts": written.conflicts, "revision": written.revision}
    return data


def _print(console: Console, name: str, shown: Preview, written: Written | None, past_revision: int) -> None:
    if written is not None:
        console.print(
            f"{written.made} keys of {name} are again as they were at revision {past_revision}; it is at revision "
            f"{max(written.revision, shown.revision)}"
        )
        return
    if shown.first:
        console.print(table(("KEY", "CHANGE"), [(printable(change.key), change.kind.value) for change in shown.first]))
    if shown.total > len(shown.first):
        console.print(f"… and {shown.total - len(shown.first)} more")
    counts = ", ".join(f"{shown.counts[kind]} keys to {_VERBS[kind]}" for kind in Kind)
    console.print(
        f"from revision {shown.revision} back to what there was at revision {past_revision}: {counts}; {shown.same} "
        f"are the same, {shown.leased} are left alone since they are attached to a lease"
    )
    console.print(f"nothing was written; repeat it with --yes --previewed {shown.revision}")
