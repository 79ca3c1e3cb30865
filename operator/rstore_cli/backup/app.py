"""The group of commands."""

from __future__ import annotations

import typer

from rstore_cli.backup import drill, listing, now, show, verify

app = typer.Typer(
    name="backup",
    help="Archives of stores, outside of them: what is there, what can be restored, and whether all of it is whole.",
    no_args_is_help=True,
)
app.command("now")(now.now)
app.command("drill")(drill.drill)
app.command("list")(listing.list_archives)
app.command("show")(show.show)
app.command("verify")(verify.verify)
