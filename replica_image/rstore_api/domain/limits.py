"""Limits, defaults and bounds: of the spec of a store, of the file that its replicas read, and of requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """A setting: its default, and the lowest and the highest value that it may have."""

    default: int
    low: int
    high: int


MEBIBYTE = 1 << 20
MINUTE_MS = 60_000

# ---- a store
MAX_REGIONS = 9
MAX_OTHER_REGIONS = MAX_REGIONS - 1
REPLICAS = Bounds(default=3, low=1, high=9)
MAX_REPLICAS = REPLICAS.high
MAX_NAME_LENGTH = 50
"""Of ``<store>-<region>``, which becomes part of pod names and host names."""
MAX_ALTERNATIVE_NAMES = 32
"""Names that the spec may add to a certificate."""
MAX_CLIENT_ENDPOINTS = 3
"""Of a region."""
MAX_CLIENT_ENDPOINT_LENGTH = 300
"""In characters."""
PRIORITY = Bounds(default=10, low=0, high=1000)

# ---- replication
MIN_IN_SYNC_REGIONS = Bounds(default=1, low=1, high=MAX_OTHER_REGIONS)
SEMI_SYNC_TIMEOUT_MS = Bounds(default=5000, low=100, high=MINUTE_MS)
BATCH_INTERVAL_MS = Bounds(default=10, low=1, high=10_000)
MAX_BATCH_BYTES = Bounds(default=MEBIBYTE, low=1024, high=64 * MEBIBYTE)
WINDOW_BYTES = Bounds(default=8 * MEBIBYTE, low=1024, high=1024 * MEBIBYTE)
RETENTION_REVISIONS = Bounds(default=100_000, low=1000, high=1_000_000_000)

# ---- the archive
LOG_INTERVAL_MS = Bounds(default=10_000, low=1000, high=60 * MINUTE_MS)
SEGMENT_BYTES = Bounds(default=16 * MEBIBYTE, low=1024, high=64 * MEBIBYTE)
MAX_BASE_REQUESTS = 32
PAST_REVISION = Bounds(default=0, low=1, high=1 << 62)
"""A revision, or an epoch, of the past that a spec names; the default is for one that it does not name."""
KEEP_BASES = Bounds(default=10_000, low=1, high=10_000)

# ---- failover
LEASE_DURATION_MS = Bounds(default=3000, low=500, high=MINUTE_MS)
FAILOVER_DELAY_MS = Bounds(default=2000, low=0, high=10 * MINUTE_MS)
SWITCHOVER_TIMEOUT_MS = Bounds(default=30_000, low=1000, high=10 * MINUTE_MS)
REQUEST_TIMEOUT_MS = Bounds(default=10 * MINUTE_MS, low=1000, high=24 * 60 * MINUTE_MS)
DRAIN_TIMEOUT_MS = Bounds(default=15_000, low=0, high=10 * MINUTE_MS)
MAX_DATA_LOSS_BYTES = Bounds(default=0, low=0, high=1 << 40)

# ---- clients with certificates of their own
MAX_CLIENTS = 64
MAX_PREFIXES = 32
"""Of the keys of one client."""
MAX_PREFIX_LENGTH = 256
"""In characters."""
CLIENT_REQUESTS = Bounds(default=16_384, low=1, high=16_384)
"""Requests of one client at a time; of all there are no more either, see ``calls`` in rstore_wire/limits.py."""
MAX_REQUESTS = CLIENT_REQUESTS.high

# ---- requests and data
SHORT_KEY_BYTES = 511
"""Of a key that every version takes. Longer ones are taken once every replica of every region has reported that it
knows them."""
MAX_REQUEST_BYTES = Bounds(default=1536 * 1024, low=1024, high=8 * MEBIBYTE)
MAX_KEY_BYTES = MAX_REQUEST_BYTES.high
"""As in etcd, only the size of a request limits a key."""
MAX_TXN_OPS = Bounds(default=128, low=1, high=10_000)
MIN_LEASE_SECONDS, MAX_LEASE_SECONDS = 2, 9_000_000_000
"""As in etcd: a shorter time to live becomes the shortest, a longer one is refused."""
MAX_LEASES = 100_000
"""Of a store."""
MAX_AUTH_NAME_BYTES = 256
"""Of etcd's users and roles."""
MAX_USERS = MAX_ROLES = 10_000
"""Of a store, in etcd's auth."""
MAX_ROLES_OF_USER = MAX_PERMISSIONS_OF_ROLE = 1000
QUOTA_BYTES = 8 << 30
ELECTION_TIMEOUT_MIN_MS, ELECTION_TIMEOUT_MAX_MS, HEARTBEAT_MS = 1000, 2000, 100
TAILS_SHOWN = 10
"""Diverged tails of a region that its status describes, the newest; all of them are counted."""
