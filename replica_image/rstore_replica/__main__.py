"""``python -m rstore_replica``: arguments, signals, exit codes (0 stopped as asked, 1 failed, 2 usage)."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import rstore_api
import uvloop
from rstore_api.listening import EVERY_ADDRESS
from rstore_api.logs import LEVELS, configure, get_logger

from rstore_replica.config import ConfigError, ReplicaConfig, load_config
from rstore_replica.mvcc.data.store import StorageFailed
from rstore_replica.process.composition import Place, Replica
from rstore_replica.process.listeners import ListenError
from rstore_replica.process.volume import VolumeError
from rstore_replica.raft.types import RaftError
from rstore_replica.tls import TlsError

SWITCH_INTERVAL_SECONDS = 0.001
"""How long a thread that scans may keep the event loop waiting; Python's default is five times that."""

EXIT_FAILED = 1
EXIT_USAGE = 2

_EXPECTED = (VolumeError, TlsError, ListenError, StorageFailed, RaftError, OSError)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parses the command line. Exits with code 2 and a usage message when it cannot be understood."""
    parser = argparse.ArgumentParser(prog="rstore_replica", description="One replica of a ReplicatedStore.")
    parser.add_argument(
        "--config", type=Path, required=True, help="the region's replica.json; access.json is beside it"
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="directory of this replica's data")
    parser.add_argument("--tls-dir", type=Path, required=True, help="directory with ca.crt, tls.crt and tls.key")
    parser.add_argument("--name", required=True, help="this replica's name: its pod's")
    parser.add_argument(
        "--listen-host",
        default=os.environ.get("RSTORE_LISTEN_HOST") or EVERY_ADDRESS,
        help="address to listen on (default: $RSTORE_LISTEN_HOST, else all)",
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="default: info")
    parser.add_argument("--version", action="version", version=rstore_api.__version__)
    return parser.parse_args(arguments)


async def run(config: ReplicaConfig, place: Place) -> int:
    """Run the replica until SIGTERM or SIGINT, or until it fails; the exit code. A second signal exits at once."""
    log = get_logger("rstore_replica")
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            os._exit(EXIT_FAILED)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        replica = Replica(config, place)
        await replica.start()
    except _EXPECTED as error:
        log.error("not_started", reason=str(error))
        return EXIT_FAILED
    except Exception:
        log.exception("not_started", reason="unexpected")
        return EXIT_FAILED
    stopping = loop.create_task(asked.wait())
    await asyncio.wait((stopping, replica.failed), return_when=asyncio.FIRST_COMPLETED)
    if replica.failed.done():
        # Nothing may be saved or handed on by a replica that no longer knows what is true.
        return EXIT_FAILED
    await replica.stop()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the whole program; returns the exit code."""
    chosen = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    configure(chosen.log_level, replica=chosen.name)
    try:
        config = load_config(chosen.config, name=chosen.name)
    except ConfigError as error:
        get_logger("rstore_replica").error("configuration_refused", reason=str(error))
        return EXIT_USAGE
    configure(chosen.log_level, store=config.store, region=config.region, replica=chosen.name)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    place = Place(
        name=chosen.name,
        data_directory=chosen.data_dir,
        tls_directory=chosen.tls_dir,
        config_directory=chosen.config.parent,
        listen_host=chosen.listen_host,
    )
    # What has been loaded stays; and the collector looks for cycles, of which there are few, less often than after
    # every 700 objects, as one batch of writes makes.
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    return uvloop.run(run(config, place))


if __name__ == "__main__":
    code = main()
    # Not sys.exit: threads of gRPC that are still dialling must not hold up the end of the pod.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
