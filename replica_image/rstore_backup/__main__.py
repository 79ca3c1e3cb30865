"""``python -m rstore_backup archive`` and ``restore``: arguments, signals, exit codes (0 stopped as asked, 1 failed,
2 usage)."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import rstore_api
import uvloop
from rstore_api.dialling.channels import keep_running
from rstore_api.listening import EVERY_ADDRESS
from rstore_api.logs import LEVELS, configure, get_logger
from rstore_api.tls import TlsFiles

from rstore_backup import config, restore_config
from rstore_backup.archiver.process import ArchiverProcess
from rstore_backup.config import ConfigError
from rstore_backup.program.config_file import ConfigFile
from rstore_backup.program.scratch import Scratch
from rstore_backup.restorer.process import RestorerProcess

EXIT_FAILED = 1
EXIT_USAGE = 2


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parses the command line. Exits with code 2 and a usage message when it cannot be understood."""
    parser = argparse.ArgumentParser(prog="rstore_backup", description="Archives of ReplicatedStores.")
    parser.add_argument("--version", action="version", version=rstore_api.__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    archive = commands.add_parser("archive", help="write the archive of one store, until stopped")
    archive.add_argument("--config", type=Path, required=True, help="the store's archive.json")
    archive.add_argument("--drill-folder", type=Path, help="an empty folder for temporary files of drills alone")
    archive.add_argument("--drill-bytes", type=int, help="the most that a drill puts there")
    restore = commands.add_parser("restore", help="fill a new store from an archive, and report that until stopped")
    restore.add_argument("--config", type=Path, required=True, help="the store's restore.json")
    restore.add_argument("--scratch-folder", type=Path, help="an empty folder for its temporary file alone")
    restore.add_argument("--scratch-bytes", type=int, help="the most that it puts there")
    for command in (archive, restore):
        command.add_argument("--tls-dir", type=Path, required=True, help="directory with ca.crt, tls.crt and tls.key")
        command.add_argument("--folder", type=Path, help="what a destination of file:/// stands for")
        command.add_argument(
            "--listen-host",
            default=os.environ.get("RSTORE_LISTEN_HOST") or EVERY_ADDRESS,
            help="address of the HTTP port (default: $RSTORE_LISTEN_HOST, else all)",
        )
        command.add_argument("--log-level", choices=LEVELS, default="info", help="default: info")
    return parser.parse_args(arguments)


async def run(process: ArchiverProcess | RestorerProcess) -> int:
    """Runs the process until SIGTERM or SIGINT; the exit code. A second signal exits at once."""
    keep_running()
    log = get_logger("rstore_backup")
    asked = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            os._exit(EXIT_FAILED)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    try:
        log.info("started", version=rstore_api.__version__)
        await process.run(asked)
    except OSError as error:
        log.error("not_started", reason=str(error))
        return EXIT_FAILED
    except Exception:
        log.exception("failed")
        return EXIT_FAILED
    log.info("stopped")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the whole program; returns the exit code."""
    chosen = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    configure(chosen.log_level)
    try:
        process = _archiver(chosen) if chosen.command == "archive" else _restorer(chosen)
    except ConfigError as error:
        get_logger("rstore_backup").error("configuration_refused", reason=str(error))
        return EXIT_USAGE
    return uvloop.run(run(process))


def _archiver(chosen: argparse.Namespace) -> ArchiverProcess:
    file = ConfigFile(chosen.config, config.decode)
    configure(chosen.log_level, store=file.current.name)
    scratch = Scratch(chosen.drill_folder, chosen.drill_bytes) if chosen.drill_folder is not None else None
    tls, host = TlsFiles.in_directory(chosen.tls_dir), chosen.listen_host
    return ArchiverProcess(file, tls=tls, listen_host=host, folder=chosen.folder, scratch=scratch)


def _restorer(chosen: argparse.Namespace) -> RestorerProcess:
    file = ConfigFile(chosen.config, restore_config.decode)
    configure(chosen.log_level, store=file.current.name)
    scratch = Scratch(chosen.scratch_folder, chosen.scratch_bytes) if chosen.scratch_folder is not None else None
    tls, host = TlsFiles.in_directory(chosen.tls_dir), chosen.listen_host
    return RestorerProcess(file, tls=tls, listen_host=host, folder=chosen.folder, scratch=scratch)


if __name__ == "__main__":
    code = main()
    # Not sys.exit: threads of gRPC that are still dialling must not hold up the end of the pod.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
