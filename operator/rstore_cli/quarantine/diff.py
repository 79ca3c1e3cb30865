"""``rstore quarantine diff``: each key of a tail beside its present value."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

import yaml

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.connect import open_store
from rstore_cli.options import (
    EndpointOption,
    Output,
    OutputOption,
    StoreName,
    TimeoutOption,
)
from rstore_cli.output import text_field
from rstore_cli.quarantine.access import Access
from rstore_cli.quarantine.changes import Selection
from rstore_cli.quarantine.compare import Compared, for_each_key, last_changes
from rstore_cli.quarantine.options import KeysOption, PrefixesOption, TailName

VALUE_BYTES = 40
"""Of a value in the table; all of it is in the other formats."""
MEASURED_KEYS = 500
HEADERS = ("KEY", "VERDICT", "REVISION", "IN THE TAIL", "PRESENT REVISION", "PRESENT")


@on_cluster
async def diff(
    cluster: Cluster,
    name: StoreName,
    tail: TailName,
    key: KeysOption = None,
    prefix: PrefixesOption = None,
    endpoint: EndpointOption = None,
    timeout: TimeoutOption = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare what a tail last did to each key with what the store has now.

    same: the store has it. unchanged: nobody has written the key since. absent: the store has no such key.
    changed, deleted: somebody has written or deleted it since, and replay leaves it alone.

    Keys are printed as they are compared, so a tail of any size can be piped on.
    """
    access = await Access.to(cluster, name)
    selection, printer = Selection.of(key, prefix), PRINTERS[output]()
    compared_tail = await access.find(tail)
    changes = await last_changes(access, compared_tail, selection, timeout_seconds=timeout)
    async with open_store(cluster, name, region=None, endpoints=endpoint) as client:
        async for one in for_each_key(access, client, compared_tail, changes, _as_it_is, timeout_seconds=timeout):
            printer.take(one)
    printer.end()


async def _as_it_is(compared: Compared) -> Compared:
    return compared


def compared_data(compared: Compared) -> dict[str, Any]:
    """PURE: one key as plain data."""
    tail: dict[str, Any] = {"revision": compared.change.revision, "rows": compared.change.rows}
    tail |= {"deleted": True} if compared.change.deletion else text_field("value", compared.value)
    present = None
    if compared.present is not None:
        present = {"revision": compared.present.mod_revision, **text_field("value", compared.present.value)}
    return {**text_field("key", compared.key), "verdict": compared.verdict.value, "tail": tail, "present": present}


class Printer(ABC):
    """Prints keys as they come, and at the end how many there were of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def take(self, compared: Compared) -> None:
        """One more key."""
        self._counts[compared.verdict.value] += 1
        self._take(compared, first=self._counts.total() == 1)

    def end(self) -> None:
        """There are no more."""
        self._end(dict(sorted(self._counts.items())))
        sys.stdout.flush()

    @abstractmethod
    def _take(self, compared: Compared, *, first: bool) -> None: ...

    @abstractmethod
    def _end(self, counts: dict[str, int]) -> None: ...


class JsonPrinter(Printer):
    """One object, ``keys`` and then ``counts``."""

    def _take(self, compared: Compared, *, first: bool) -> None:
        sys.stdout.write('{\n  "keys": [\n    ' if first else ",\n    ")
        sys.stdout.write(json.dumps(compared_data(compared), ensure_ascii=False))

    def _end(self, counts: dict[str, int]) -> None:
        sys.stdout.write("\n  ],\n" if counts else '{\n  "keys": [],\n')
        sys.stdout.write(f'  "counts": {json.dumps(counts)}\n}}\n')


class YamlPrinter(Printer):
    """As JSON."""

    def _take(self, compared: Compared, *, first: bool) -> None:
        sys.stdout.write("keys:\n" if first else "")
        sys.stdout.write(yaml.safe_dump([compared_data(compared)], sort_keys=False, allow_unicode=True))

    def _end(self, counts: dict[str, int]) -> None:
        sys.stdout.write("" if counts else "keys: []\n")
        sys.stdout.write(yaml.safe_dump({"counts": counts}, sort_keys=False))


class TablePrinter(Printer):
    """A table whose columns are as wide as the first keys need."""

    def __init__(self) -> None:
        super().__init__()
        self._first: list[tuple[str, ...]] = [HEADERS]
        self._widths: list[int] = []

    def _take(self, compared: Compared, *, first: bool) -> None:
        del first
        cells = cells_of(compared)
        if self._widths:
            self._print(cells)
            return
        self._first.append(cells)
        if len(self._first) > MEASURED_KEYS:
            self._print_first()

    def _print_first(self) -> None:
        self._widths = [max(map(len, column)) for column in zip(*self._first, strict=True)]
        for cells in self._first:
            self._print(cells)
        self._first.clear()

    def _print(self, cells: tuple[str, ...]) -> None:
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, self._widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")

    def _end(self, counts: dict[str, int]) -> None:
        if not self._widths:
            self._print_first()
        sys.stdout.write(
            (", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no such keys") + "\n"
        )


PRINTERS: dict[Output, type[Printer]] = {
    Output.TABLE: TablePrinter,
    Output.JSON: JsonPrinter,
    Output.YAML: YamlPrinter,
}


def cells_of(compared: Compared) -> tuple[str, ...]:
    """PURE: one key as a line of the table."""
    return (
        shown(compared.key),
        compared.verdict.value,
        str(compared.change.revision),
        "(deleted)" if compared.change.deletion else shown(compared.value),
        "-" if compared.present is None else str(compared.present.mod_revision),
        "(none)" if compared.present is None else shown(compared.present.value),
    )


def shown(content: bytes) -> str:
    """PURE: a key or a value for the table, cut when it is long."""
    text = content.decode(errors="backslashreplace")
    return text if len(text) <= VALUE_BYTES else f"{text[: VALUE_BYTES - 1]}…"
