"""What a restorer is told: one JSON file, in a ConfigMap of the store. It is read again whenever it changes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from rstore_api.domain.names import HTTP_PORT

from rstore_backup.config import ConfigError
from rstore_backup.restore_report import Pinned

FILE_NAME = "restore.json"
"""In the directory that ``--config`` names."""


class RestoreConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """One restore, into one store."""

    namespace: str
    name: str
    """Of the store that is filled."""
    store_id: str
    """Its id: its own archive is not what is restored."""
    replicas: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """``host:port`` of the client port of its replicas, those of the primary region first."""
    destination: str
    """A URL, as in the configuration of an archiver."""
    endpoint: str = ""
    source_id: str = ""
    """The id of the store whose archive it is; "": the only one, or the one that ``source_name`` names."""
    source_name: str = ""
    """Name, or namespace and name with a slash between them, of the store whose archive it is; "": any."""
    revision: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The state to restore; 0: see ``time_ms``."""
    time_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The state to restore, in milliseconds since 1970; 0 beside revision 0: the latest."""
    epoch: Annotated[int, msgspec.Meta(ge=0)] = 0
    """On whose history; 0: that of the newest epoch."""
    pinned: Pinned | None = None
    """The state that is recorded: what the store has, whatever the other fields say, unless it is still empty."""
    http_port: int = HTTP_PORT


def decode(data: bytes) -> RestoreConfig:
    """Returns the configuration in a file. Raises ConfigError."""
    try:
        return msgspec.json.decode(data, type=RestoreConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(error)) from error
