"""Who is where: a process of the simulated world knows the site it runs at, a replica's process its machine too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.process import PROCESS, Process

if TYPE_CHECKING:
    from sim.regions.host import Host

STORE = "sim"
NAMESPACE = "default"
API_SITE = "kubernetes"

Pairs = set[tuple[str, str]]
"""Of sites: sender and receiver."""


def clients_site(region: str) -> str:
    """Where the clients of a region are."""
    return f"clients of {region}"


class SiteProcess(Process):
    """A process at a site: a region's name, an operator's, the clients' of a region."""

    def __init__(self, name: str, incarnation: int, site: str) -> None:
        super().__init__(name, incarnation)
        self.site = site


class HostProcess(SiteProcess):
    """A replica's process, on its machine."""

    def __init__(self, name: str, incarnation: int, host: Host) -> None:
        super().__init__(name, incarnation, host.region)
        self.host = host


def current_host() -> Host:
    """The machine whose process is running just now."""
    process = PROCESS.get()
    assert isinstance(process, HostProcess)
    return process.host
