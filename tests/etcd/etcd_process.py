"""The real etcd that a store is compared with: where its programs are, and one member of it as a process.

``make etcd`` unpacks Debian's etcd into ``build/etcd``, which is newer than the one that pip installs;
``RSTORE_ETCD_DIR`` names a directory with any other.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.replicas.server_processes import free_loopback_address

_REPOSITORY = Path(__file__).resolve().parents[2]
_ENDING_SECONDS = 10
PIP = Path(sys.executable).parent
"""Where pip installs etcd's own release, 3.5.1."""
Version = tuple[int, ...]


def directory() -> Path:
    """Returns the directory of etcd, etcdctl and etcdutl. They may be missing there."""
    chosen = os.environ.get("RSTORE_ETCD_DIR")
    if chosen:
        return Path(chosen)
    unpacked = _REPOSITORY / "build" / "etcd" / "usr" / "bin"
    return unpacked if (unpacked / "etcd").exists() else PIP


def is_installed() -> bool:
    """Returns whether there is an etcd to compare with."""
    return (directory() / "etcd").exists()


@functools.cache
def version() -> Version:
    """Returns the version of that etcd, such as (3, 5, 16)."""
    text = subprocess.run([directory() / "etcd", "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", text)
    assert number, text
    return tuple(map(int, number.groups()))


@contextmanager
def running_member(scratch: Path, *flags: str, programs: Path | None = None) -> Iterator[str]:
    """Runs an etcd of one member, without TLS, on a loopback address of its own, which is yielded (``host:port``).

    ``programs`` names another directory than :func:`directory`.
    """
    host = free_loopback_address()
    client, peer = f"http://{host}:2379", f"http://{host}:2380"
    with (scratch / "etcd.log").open("wb") as log:
        process = subprocess.Popen(
            [
                (programs or directory()) / "etcd",
                f"--data-dir={scratch / 'etcd'}",
                "--unsafe-no-fsync",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                *flags,
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield f"{host}:2379"
    finally:
        process.terminate()
        process.wait(_ENDING_SECONDS)
