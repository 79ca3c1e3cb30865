"""Prints results to standard output, and everything else to standard error."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rstore_cli.options import Output

PIPED_WIDTH = 500
"""The number of columns without a terminal, so that nothing is cut."""


def stdout() -> Console:
    """Returns the console of results. It prints text as it is, brackets and colons too."""
    return _console(sys.stdout.isatty(), stderr=False)


def stderr() -> Console:
    """Returns the console of progress, warnings and errors."""
    return _console(sys.stderr.isatty(), stderr=True)


def _console(is_terminal: bool, *, stderr: bool) -> Console:
    width = None if is_terminal else PIPED_WIDTH
    return Console(stderr=stderr, width=width, soft_wrap=True, markup=False, emoji=False, highlight=False)


def emit(data: Any, output: Output, render: Callable[[Console], None]) -> None:
    """Print ``data`` as JSON or YAML, or call ``render`` to print a table.

    ``data`` holds only what JSON can hold.
    """
    if output is Output.JSON:
        print(json.dumps(data, indent=2, ensure_ascii=False))
    elif output is Output.YAML:
        print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")
    else:
        render(stdout())


class Document:
    """A result of any size, printed as one JSON or YAML document while it comes: a list, or an object that has the list
    as its member ``name``."""

    def __init__(self, output: Output, name: str = "") -> None:
        self._json = output is Output.JSON
        self._name = name
        self._empty = True

    def add(self, item: dict[str, Any]) -> None:
        """Print one more item of the list."""
        if self._json:
            self._write((self._begin() if self._empty else ",") + f"\n  {json.dumps(item, ensure_ascii=False)}")
        else:
            begin = f"{self._name}:\n" if self._empty and self._name else ""
            self._write(begin + yaml.safe_dump([item], sort_keys=False, allow_unicode=True))
        self._empty = False

    def end(self, **members: Any) -> None:
        """Print the end; ``members`` are what else the object has."""
        if self._json:
            rest = "".join(f",\n{json.dumps(name)}: {json.dumps(value)}" for name, value in members.items())
            self._write((self._begin() if self._empty else "\n") + "]" + rest + ("}\n" if self._name else "\n"))
        else:
            empty = f"{self._name}: []\n" if self._name else "[]\n"
            rest = yaml.safe_dump(members, sort_keys=False) if members else ""
            self._write((empty if self._empty else "") + rest)
        sys.stdout.flush()

    def _begin(self) -> str:
        return f"{{{json.dumps(self._name)}: [" if self._name else "["

    def _write(self, text: str) -> None:
        sys.stdout.write(text)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> Table:
    """Returns a table like kubectl's: without a frame, with upper-case headers."""
    made = Table(box=None, pad_edge=False, title=title, title_justify="left", header_style="bold")
    for header in headers:
        made.add_column(header, no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def printable(content: bytes) -> str:
    """Returns bytes as text of one line that no terminal takes for a command: what is not UTF-8, and what cannot be
    seen, is escaped as in Python."""
    text = content.decode(errors="backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def text_field(field: str, content: bytes) -> dict[str, str]:
    """Returns bytes for JSON and YAML: as ``field`` when they are UTF-8, else as ``fieldBase64``."""
    try:
        return {field: content.decode()}
    except UnicodeDecodeError:
        return {f"{field}Base64": base64.b64encode(content).decode()}


def seconds(value: float | None) -> str:
    """Returns A duration for people: ``4ms``, ``1.5s``, ``2m05s``; ``-`` when unknown."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f}ms"
    if value < 60:
        return f"{value:.1f}s"
    return f"{int(value // 60)}m{int(value % 60):02d}s"


def size(value: int | None) -> str:
    """Returns A number of bytes for people: ``0B``, ``1.5KiB``; ``-`` when unknown."""
    if value is None:
        return "-"
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f}{unit}" if unit == "B" or amount == int(amount) else f"{amount:.1f}{unit}"
        amount /= 1024
    return f"{amount:.1f}TiB"


def bars() -> Progress:
    """Returns bars for what takes long, shown on a terminal alone, and gone at the end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=stderr(),
        disable=not stderr().is_terminal,
        transient=True,
    )
