"""Where the regions of a store are, which one is the primary, and when the primary may acknowledge."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_api.domain.limits import SEMI_SYNC_TIMEOUT_MS


@dataclass(frozen=True)
class ReplicaAddress:
    """How a replica is reached by the others: ``host:port`` of its peer and client ports."""

    name: str
    peer_address: str
    client_address: str
    advertised_client_addresses: tuple[str, ...] = ()
    """``host:port`` at which clients outside of the cluster reach it."""


@dataclass(frozen=True)
class RegionTopology:
    """A region and its replicas."""

    name: str
    replicas: tuple[ReplicaAddress, ...]


@dataclass(frozen=True)
class SyncRule:
    """How many other regions must have committed a revision before it is acknowledged; 0: none, Async.

    After ``timeout_ms`` without, acknowledgements fail or, with ``degrade``, go on in spite of it.
    """

    min_in_sync_regions: int = 0
    timeout_ms: int = SEMI_SYNC_TIMEOUT_MS.default
    degrade: bool = False

    @property
    def timeout_seconds(self) -> float:
        """The timeout, at least a millisecond."""
        return max(1, self.timeout_ms) / 1000


ASYNC = SyncRule()


@dataclass(frozen=True)
class Topology:
    """Where every region is and which is primary of ``epoch``; ``version`` grows when anything else changes."""

    epoch: int
    version: int
    primary_region: str
    regions: tuple[RegionTopology, ...]
    sync: SyncRule | None = None
    """None: Async."""

    @property
    def age(self) -> tuple[int, int]:
        """What orders the topologies of a store: the greater is the newer."""
        return self.epoch, self.version

    @property
    def rule(self) -> SyncRule:
        """The rule for acknowledging."""
        return self.sync if self.sync is not None and self.sync.min_in_sync_regions else ASYNC

    @property
    def region_names(self) -> tuple[str, ...]:
        """The regions, in their order."""
        return tuple(region.name for region in self.regions)
