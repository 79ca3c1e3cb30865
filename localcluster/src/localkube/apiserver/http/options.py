"""What an API server is started with, and the hooks by which the cluster around it serves logs and ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localkube.apiserver.jsonobj import JsonObject


@dataclass(frozen=True)
class LogRequest:
    """What ``kubectl logs`` asks for."""

    namespace: str
    pod: str
    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    limit_bytes: int | None = None


class LogProvider(Protocol):
    """Serves container logs."""

    def __call__(self, request: LogRequest) -> AsyncIterator[bytes]:
        """Chunks of the log; with ``follow`` until the container ends. Raise ``ApiError`` before the first chunk."""
        ...


PodAddress = Callable[[JsonObject], str]
"""The host address at which a pod's ports can be dialled; raises ``ApiError`` when there is none."""


@dataclass(frozen=True)
class ApiServerOptions:
    """Options of the API server; the defaults suit tests."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 for a free one; a data directory remembers it, so that kubeconfigs stay valid over restarts."""
    data_dir: Path | None = None
    """Where objects, keys and certificates are kept; None for memory only (keys in a temporary directory)."""
    service_cidr: str = "127.96.0.0/16"
    extra_hosts: tuple[str, ...] = ()
    """More names and addresses for the serving certificate."""
    history_capacity: int = 10_000
    """Changes kept for watches, for each resource."""
    event_ttl_seconds: float = 3600.0
    bookmark_interval_seconds: float = 30.0
    log_provider: LogProvider | None = None
    pod_address: PodAddress | None = None
    """Default: the pod's ``status.podIP``."""


KUBERNETES_VERSION = ("1", "36", "v1.36.0+localkube")
