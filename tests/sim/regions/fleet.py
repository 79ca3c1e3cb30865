"""All machines there are, by region, and which of them have a pod at the moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.regions.host import Host


class Fleet:
    """Machines of every region that the store may ever have; a region has a StatefulSet while any is wanted."""

    def __init__(self) -> None:
        self.machines: dict[str, list[Host]] = {}
        self.left: set[str] = set()
        """Regions that were taken out of the store at some time: what they alone had went with them."""
        self.gone: set[str] = set()
        """Regions that are lost for good, until the others have forgotten them."""

    @property
    def regions(self) -> list[str]:
        """That have pods."""
        return [name for name, hosts in self.machines.items() if any(host.wanted for host in hosts)]

    def region(self, name: str) -> list[Host]:
        """Its machines that have a pod."""
        return [host for host in self.machines.get(name, []) if host.wanted]

    def wanted(self) -> list[Host]:
        """All machines that have a pod."""
        return [host for host in self.all_hosts() if host.wanted]

    def all_hosts(self) -> Iterator[Host]:
        """Every machine."""
        return (host for hosts in self.machines.values() for host in hosts)
