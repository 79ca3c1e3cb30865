"""``rstore certs``: a client's certificate as files, for etcdctl and every other etcd client."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.connect import client_certificates
from rstore_cli.errors import CliError
from rstore_cli.options import ClientOption, Output, OutputOption, StoreName
from rstore_cli.output import emit


@on_cluster
async def certs(
    cluster: Cluster,
    name: StoreName,
    out: Annotated[Path, typer.Option("--out", help="Directory to write to; made when it is not there.")],
    client: ClientOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Write ca.crt, tls.crt and tls.key of a client of the store, and print the lines that point etcdctl at them.

    Use it as: eval "$(rstore certs orders --out ~/.rstore/orders)"
    """
    paths = write_files(out, await client_certificates(cluster, name, client))
    exports = etcdctl_environment(paths)

    def render(console: Console) -> None:
        for variable, value in exports.items():
            console.print(f"export {variable}={shlex.quote(value)}")

    emit({"files": {key: str(path) for key, path in paths.items()}, "environment": exports}, output, render)


def write_files(directory: Path, contents: dict[str, bytes]) -> dict[str, Path]:
    """Write each file so that only its owner can read it, replacing what was there at once. Raises CliError."""
    written = {}
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in contents.items():
            fresh = directory / f".{name}.new"
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            written[name] = fresh.replace(directory / name).absolute()
    except OSError as error:
        raise CliError(
            f"cannot write to {directory}: {error.strerror}", hint="choose another directory with --out"
        ) from error
    return written


def etcdctl_environment(paths: dict[str, Path]) -> dict[str, str]:
    """Returns the environment variables that make etcdctl use the files."""
    return {
        "ETCDCTL_API": "3",
        "ETCDCTL_CACERT": str(paths["ca.crt"]),
        "ETCDCTL_CERT": str(paths["tls.crt"]),
        "ETCDCTL_KEY": str(paths["tls.key"]),
    }
