"""``rstore``, also installed as ``kubectl-rstore``: the command line of ReplicatedStore.

Exit codes: 0 ok, 1 failed, 2 usage. Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
import typer.main
from rstore_api.errors import StoreError
from rstore_backup.errors import ArchiveError
from typer.core import TyperGroup

from rstore_cli import (
    certs,
    data,
    failover,
    lease,
    logs,
    maintenance,
    migrate,
    report,
    restart,
    status,
    verify,
    watch,
)
from rstore_cli.archives import archive_hint
from rstore_cli.backup.app import app as backup
from rstore_cli.errors import EXIT_FAILED, CliError, hint_of
from rstore_cli.output import stderr
from rstore_cli.quarantine.app import app as quarantine
from rstore_cli.restore.command import restore


class Commands(TyperGroup):
    """The commands; ``dev`` is imported when it is called, since it imports a whole cluster."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of all commands, in the order of the help."""
        return [*super().list_commands(ctx), "dev"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command of that name, None if there is none."""
        if cmd_name == "dev":
            dev = _dev()
            dev.name, dev.help = "dev", "A local cluster of plain processes: no Docker, no root."
            return dev
        return super().get_command(ctx, cmd_name)


def _dev() -> Any:
    """Returns the commands of ``rstore dev``, or one that says how to install the local cluster if it is absent."""
    try:
        return typer.main.get_group(importlib.import_module("rstore_cli.dev.app").app)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "localkube":
            raise
    absent = typer.Typer()

    @absent.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def refuse() -> None:
        raise CliError("the local cluster is not installed", hint="in a checkout: pip install ./localcluster .[local]")

    return typer.main.get_command(absent)


app = typer.Typer(
    name="rstore",
    cls=Commands,
    help="Look at and act on ReplicatedStores: key-value stores that span regions, run by a Kubernetes operator.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("status")(status.status)
app.command("failover")(failover.failover)
app.command("promote")(failover.promote)
app.command("restart")(restart.restart)
app.command("restore")(restore)
app.command("migrate")(migrate.migrate)
app.add_typer(maintenance.app)
app.command("logs")(logs.logs)
app.command("report")(report.report)
app.add_typer(failover.debug)
app.command("put")(data.put)
app.command("get")(data.get)
app.command("del")(data.delete)
app.command("watch")(watch.watch)
app.add_typer(lease.app)
app.command("verify")(verify.verify)
app.command("certs")(certs.certs)
app.add_typer(backup)
app.add_typer(quarantine)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"rstore {version('replicated-store')}")
        except PackageNotFoundError:
            print("rstore (not installed as a package)")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Look at and act on ReplicatedStores."""


def main() -> None:
    """Run the command line; every expected error ends as one line on standard error, with what to do next."""
    # Messages of libraries do not reach the user; their errors do, as ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger().setLevel(logging.ERROR)
    try:
        app(prog_name="rstore")
    except CliError as error:
        _fail(error.message, error.hint, error.exit_code)
    except StoreError as error:
        _fail(str(error), hint_of(error), EXIT_FAILED)
    except ArchiveError as error:
        _fail(str(error), archive_hint(error), EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str, hint: str, exit_code: int) -> None:
    console = stderr()
    console.print(f"error: {message}", style="red")
    if hint:
        console.print(f"hint: {hint}")
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
