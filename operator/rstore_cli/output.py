"""Printing: results to standard output, everything else to standard error."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from rstore_cli.options import Output

PIPED_WIDTH = 500
"""Columns when there is no terminal: nothing is cut for whoever reads it."""


def stdout() -> Console:
    """Where results go."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, soft_wrap=True)


def stderr() -> Console:
    """Where progress, warnings and errors go."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else PIPED_WIDTH, soft_wrap=True)


def emit(data: Any, output: Output, render: Callable[[Console], None]) -> None:
    """Print ``data`` as JSON or YAML, or call ``render`` for people.

    ``data`` holds only what JSON can hold.
    """
    if output is Output.JSON:
        print(json.dumps(data, indent=2, ensure_ascii=False))
    elif output is Output.YAML:
        print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")
    else:
        render(stdout())


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> Table:
    """A table in kubectl's manner: no frame, upper-case headers; columns are never cut when piped."""
    made = Table(box=None, pad_edge=False, title=title, title_justify="left", header_style="bold")
    for header in headers:
        made.add_column(header, no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def text_field(field: str, content: bytes) -> dict[str, str]:
    """Bytes for JSON and YAML: as ``field`` when they are UTF-8, else as ``fieldBase64``."""
    try:
        return {field: content.decode()}
    except UnicodeDecodeError:
        return {f"{field}Base64": base64.b64encode(content).decode()}


def seconds(value: float | None) -> str:
    """A duration for people: ``4ms``, ``1.5s``, ``2m05s``; ``-`` when unknown."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f}ms"
    if value < 60:
        return f"{value:.1f}s"
    return f"{int(value // 60)}m{int(value % 60):02d}s"


def size(value: int | None) -> str:
    """A number of bytes for people: ``0B``, ``1.5KiB``; ``-`` when unknown."""
    if value is None:
        return "-"
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f}{unit}" if unit == "B" or amount == int(amount) else f"{amount:.1f}{unit}"
        amount /= 1024
    return f"{amount:.1f}TiB"
