"""Options that the commands of this group share."""

from __future__ import annotations

from typing import Annotated

import typer

TailName = Annotated[
    str,
    typer.Argument(metavar="TAIL", help="As `rstore quarantine list` shows it: region/epoch-first-last."),
]
KeysOption = Annotated[
    list[str] | None, typer.Option("--key", help="This key. May be given more than once.", show_default=False)
]
PrefixesOption = Annotated[
    list[str] | None,
    typer.Option("--prefix", help="Every key that begins with this. May be given more than once.", show_default=False),
]
