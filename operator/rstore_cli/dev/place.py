"""Which local cluster a command is about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from localkube.daemon import DaemonState, read_state

from rstore_cli.errors import CliError

NameOption = Annotated[str, typer.Option("--name", help="Name of the local cluster.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where it keeps everything. Default: ${XDG_STATE_HOME:-~/.local/state}/rstore/dev/NAME.",
        show_default=False,
    ),
]


def directory_of(name: str, data_dir: Path | None) -> Path:
    """Returns the cluster's data directory: the one that was named, else the default of that name."""
    state_home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return (data_dir or state_home / "rstore" / "dev" / name).absolute()


def running(name: str, data_dir: Path | None, *, start: str = "rstore dev up") -> DaemonState:
    """Returns where the cluster runs. Raises CliError, which names ``start``, when it does not."""
    state = read_state(directory_of(name, data_dir))
    if state is None:
        raise CliError(f"the local cluster {name!r} is not running", hint=f"start it by `{start}`")
    return state
