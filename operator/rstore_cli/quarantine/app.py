"""The group of commands."""

from __future__ import annotations

import typer

from rstore_cli.quarantine import diff, drop, listing, replay, show

app = typer.Typer(
    name="quarantine",
    help="Writes that a lost primary had acknowledged and nobody else had: look at them, and put them back.",
    no_args_is_help=True,
)
app.command("list")(listing.list_tails)
app.command("show")(show.show)
app.command("diff")(diff.diff)
app.command("replay")(replay.replay)
app.command("drop")(drop.drop)
