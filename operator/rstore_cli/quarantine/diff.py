"""``rstore quarantine diff``: shows each key of a tail beside its present value."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from rstore_cli.options import Output, OutputOption
from rstore_cli.output import Document, printable, text_field
from rstore_cli.quarantine.access import Access
from rstore_cli.quarantine.changes import Selection
from rstore_cli.quarantine.compare import Compared, for_each_key, last_changes
from rstore_cli.quarantine.options import KeysOption, PrefixesOption, TailName
from rstore_cli.store_access import StoreAccess, on_store

VALUE_BYTES = 40
"""How much of a value the table shows; the other formats have all of it."""
MEASURED_KEYS = 500
HEADERS = ("KEY", "VERDICT", "REVISION", "IN THE TAIL", "PRESENT REVISION", "PRESENT")


@on_store(timeout_seconds=30.0, has_region=False)
async def diff(
    store: StoreAccess,
    tail: TailName,
    key: KeysOption = None,
    prefix: PrefixesOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare what a tail last did to each key with what the store has now.

    same: the store has it. unchanged: nobody has written the key since. absent: the store has no such key.
    changed, deleted: somebody has written or deleted it since, and replay leaves it alone.

    Keys are printed as they are compared, so a tail of any size can be piped on.
    """
    access = await Access.to(store.cluster, store.name)
    selection = Selection.of(key, prefix)
    compared_tail = await access.find(tail)
    changes = await last_changes(access, compared_tail, selection, timeout_seconds=store.timeout_seconds)
    printer = Printer(output)
    async with store.open() as client:
        async for one in for_each_key(
            access, client, compared_tail, changes, _as_it_is, timeout_seconds=store.timeout_seconds
        ):
            printer.take(one)
    printer.end()


async def _as_it_is(compared: Compared) -> Compared:
    return compared


def compared_data(compared: Compared) -> dict[str, Any]:
    """Returns one key as plain data."""
    tail: dict[str, Any] = {"revision": compared.change.revision, "rows": compared.change.rows}
    tail |= {"deleted": True} if compared.change.deletion else text_field("value", compared.value)
    present = None
    if compared.present is not None:
        present = {"revision": compared.present.mod_revision, **text_field("value", compared.present.value)}
    return {**text_field("key", compared.key), "verdict": compared.verdict.value, "tail": tail, "present": present}


class Columns:
    """A table that is printed while its rows come; its columns are as wide as the first MEASURED_KEYS rows need."""

    def __init__(self, headers: tuple[str, ...]) -> None:
        self._first = [headers]
        self._widths: list[int] = []

    def add(self, cells: tuple[str, ...]) -> None:
        """Print one more row, or keep it until the widths are known."""
        if self._widths:
            self._print(cells)
            return
        self._first.append(cells)
        if len(self._first) > MEASURED_KEYS:
            self.end()

    def end(self) -> None:
        """Print the rows that were kept."""
        self._widths = self._widths or [max(map(len, column)) for column in zip(*self._first, strict=True)]
        for cells in self._first:
            self._print(cells)
        self._first.clear()

    def _print(self, cells: tuple[str, ...]) -> None:
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, self._widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


class Printer:
    """Prints keys as they come, and at the end how many there were of each kind."""

    def __init__(self, output: Output) -> None:
        self._counts: Counter[str] = Counter()
        self._columns = Columns(HEADERS)
        self._document = None if output is Output.TABLE else Document(output, "keys")

    def take(self, compared: Compared) -> None:
        """Print one more key."""
        self._counts[compared.verdict.value] += 1
        if self._document is not None:
            self._document.add(compared_data(compared))
        else:
            self._columns.add(cells_of(compared))

    def end(self) -> None:
        """Print the numbers."""
        counts = dict(sorted(self._counts.items()))
        if self._document is not None:
            self._document.end(counts=counts)
        else:
            self._columns.end()
            print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no such keys")


def cells_of(compared: Compared) -> tuple[str, ...]:
    """Returns one key as a row of the table."""
    return (
        shown(compared.key),
        compared.verdict.value,
        str(compared.change.revision),
        "(deleted)" if compared.change.deletion else shown(compared.value),
        "-" if compared.present is None else str(compared.present.mod_revision),
        "(none)" if compared.present is None else shown(compared.present.value),
    )


def shown(content: bytes) -> str:
    """Returns a key or a value for the table, cut if it is long."""
    text = printable(content)
    return text if len(text) <= VALUE_BYTES else f"{text[: VALUE_BYTES - 1]}…"
