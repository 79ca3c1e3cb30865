"""What an archiver is told: one JSON file, in a ConfigMap of the store. It is read again whenever it changes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from rstore_api.domain.limits import LOG_INTERVAL_MS, MAX_BASE_REQUESTS, SEGMENT_BYTES
from rstore_api.domain.names import HTTP_PORT

FILE_NAME = "archive.json"
"""In the directory that ``--config`` names."""


class ConfigError(ValueError):
    """The bytes are no configuration that this version understands; the text says where and why."""


class ArchiverConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """One store's archiver."""

    namespace: str
    name: str
    """Of the store."""
    region: str
    """From which the rows are read."""
    replicas: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """``host:port`` of the peer port of the region's replicas."""
    destination: str
    """A URL: ``s3://bucket/prefix``, ``gs://…``, ``az://container/prefix``, ``file:///folder``."""
    endpoint: str = ""
    """Of an S3-compatible object store; "": the provider's own, or as the environment says."""
    others: tuple[str, ...] = ()
    """As ``replicas``, of the other regions, which keep the log as well: any of them may be read next."""
    log_interval_ms: Annotated[int, msgspec.Meta(ge=LOG_INTERVAL_MS.low, le=LOG_INTERVAL_MS.high)] = (
        LOG_INTERVAL_MS.default
    )
    """Rows wait at most so long before they are in the archive."""
    segment_bytes: Annotated[int, msgspec.Meta(ge=SEGMENT_BYTES.low, le=SEGMENT_BYTES.high)] = SEGMENT_BYTES.default
    """Rows of so many bytes become a segment at once."""
    schedule: str = ""
    """When bases are made: five fields of cron, UTC; "": only where one is needed, or requested."""
    requests: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_BASE_REQUESTS)] = ()
    """Names of bases that are wanted, such as the UID of an object; each is made once."""
    keep_bases: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many bases are kept at least; 0 together with ``keep_seconds`` 0: everything is kept for ever."""
    keep_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    """For how long every moment stays recoverable at least."""
    drill_schedule: str = ""
    """When drills are made: five fields of cron, UTC; "": only where one is requested."""
    drill_request: str = ""
    """Names a drill that is wanted; it is made once."""
    drill_last_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    """When the last drill began that an archiver has reported; 0: none has."""
    http_port: int = HTTP_PORT

    def encode(self) -> bytes:
        """Returns the configuration as JSON, equal for equal ones."""
        return msgspec.json.encode(self, order="sorted")


def decode(data: bytes) -> ArchiverConfig:
    """Returns the configuration in a file. Raises ConfigError."""
    try:
        return msgspec.json.decode(data, type=ArchiverConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(error)) from error
