"""``rstore dev fault``: slow down, make lossy or cut the links between the places of a local cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from localkube.links.control import FaultError, LinkFaults
from localkube.links.rules import HANG, RESET, LinkRule, RuleError, fault_to_json

from rstore_cli.dev.place import DataDirOption, NameOption, directory_of, running
from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import emit, table

app = typer.Typer(
    no_args_is_help=True, help="Slow down, make lossy or cut the links between the places of a local cluster."
)

RESTART = "`rstore dev down`, then `rstore dev up --faults`"
PLACES = "a region, operator, api, or * for all"


@contextmanager
def _faults(name: str, data_dir: Path | None) -> Iterator[LinkFaults]:
    running(name, data_dir, start="rstore dev up --faults")
    try:
        yield LinkFaults(directory_of(name, data_dir))
    except RuleError as error:
        raise UsageError(str(error)) from error
    except FaultError as error:
        raise CliError(str(error), hint=RESTART) from error


@app.command("set")
def set_fault(
    source: Annotated[str, typer.Argument(metavar="FROM", help=PLACES)],
    target: Annotated[str, typer.Argument(metavar="TO", help=PLACES)],
    delay_ms: Annotated[float, typer.Option("--delay-ms", help="One way; a round trip takes both ways' delay.")] = 0,
    loss_percent: Annotated[float, typer.Option("--loss", help="Percent of writes that TCP has to repeat.")] = 0,
    bytes_per_second: Annotated[int, typer.Option("--rate", help="Bytes per second and connection; 0: any.")] = 0,
    cut: Annotated[bool, typer.Option("--cut", help="Drop everything silently.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Break connections, and refuse new ones.")] = False,
    one_way: Annotated[bool, typer.Option("--one-way", help="Only what travels from FROM to TO.")] = False,
    name: NameOption = "default",
    data_dir: DataDirOption = None,
) -> None:
    """Set the faults of the link between two places, in the place of earlier ones. Without options it has none."""
    if cut and reset:
        raise UsageError("a link is either --cut or --reset")
    with _faults(name, data_dir) as faults:
        rule = LinkRule(delay_ms, loss_percent, bytes_per_second, HANG if cut else RESET if reset else "")
        faults.set(source, target, rule, both_ways=not one_way)


@app.command("clear")
def clear(name: NameOption = "default", data_dir: DataDirOption = None) -> None:
    """Remove all faults."""
    with _faults(name, data_dir) as faults:
        faults.clear()


@app.command("list")
def list_faults(
    name: NameOption = "default", data_dir: DataDirOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Show all faults, and between which places faults can be set."""
    with _faults(name, data_dir) as faults:
        data: dict[str, Any] = {
            "places": list(faults.places()),
            "faults": [fault_to_json(fault) for fault in faults.faults()],
        }
    rows = [
        (
            fault["from"],
            fault["to"],
            f"{fault['delay_ms']:g} ms",
            f"{fault['loss_percent']:g} %",
            str(fault["bytes_per_second"] or "any"),
            fault["cut"] or "-",
        )
        for fault in data["faults"]
    ]

    def render(console: Any) -> None:
        console.print(f"places: {', '.join(data['places'])}")
        if rows:
            console.print(table(("FROM", "TO", "DELAY", "LOSS", "BYTES/S", "CUT"), rows))
        else:
            console.print("all links are whole")

    emit(data, output, render)
