"""The annotations by which a person asks for something."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rstore_api.domain.kubernetes import (
    ABORT_FAILOVER,
    ACCEPT_DATA_LOSS,
    DRILL_REQUESTED_AT,
    FAILOVER_DRY_RUN,
    FAILOVER_MODE,
    FAILOVER_TO,
    GROUP,
    PAUSED,
    REQUESTS,
)

_OF_THE_FRAMEWORK = frozenset(
    f"{GROUP}/{name}" for name in ("kopf-managed", "last-handled-configuration", "touch-dummy", "store")
)
"""What the framework that the operator is built on may write."""
_KNOWN = (*REQUESTS, DRILL_REQUESTED_AT)
_SHOWN = 40
"""Characters of a value that is shown."""
_EPOCH = re.compile("[1-9][0-9]{0,18}")
_MAX_EPOCH = (1 << 63) - 1
_LISTED = 5
"""Unknown annotations that are named at most."""


@dataclass(frozen=True)
class Commands:
    """The annotations as they are; None where there is none."""

    failover_to: str | None = None
    failover_mode: str | None = None
    dry_run: str | None = None
    accept_data_loss: str | None = None
    abort_failover: str | None = None
    paused_value: str | None = None

    @property
    def paused(self) -> bool:
        """Whether the operator should only look."""
        return self.paused_value == "true"

    @property
    def forced(self) -> bool:
        """Whether the primary need not be asked."""
        return self.failover_mode == "forced"

    @property
    def accepted_epoch(self) -> int | None:
        """The epoch out of which a failover may lose data; None when none is named, or not by a plain number."""
        value = self.accept_data_loss
        if value is None or not _EPOCH.fullmatch(value) or int(value) > _MAX_EPOCH:
            return None
        return int(value)

    @property
    def abort(self) -> bool:
        """Whether the switchover under way should be called off."""
        return self.abort_failover == "true"

    def values(self, annotations: Iterable[str]) -> dict[str, str]:
        """The values of those ``annotations`` that the object has."""
        values = {name: getattr(self, _FIELDS[name]) for name in annotations}
        return {name: value for name, value in values.items() if value is not None}

    def without(self, annotations: Iterable[str]) -> Commands:
        """The same, as if the object did not have these ``annotations``."""
        return replace(self, **{_FIELDS[name]: None for name in annotations})


_FIELDS = {
    FAILOVER_TO: "failover_to",
    FAILOVER_MODE: "failover_mode",
    FAILOVER_DRY_RUN: "dry_run",
    ACCEPT_DATA_LOSS: "accept_data_loss",
    ABORT_FAILOVER: "abort_failover",
    PAUSED: "paused_value",
}
"""The field of :class:`Commands` for each annotation."""
FAILOVER_REQUEST = (FAILOVER_TO, FAILOVER_MODE, ACCEPT_DATA_LOSS)
"""The annotations that are one request."""


def read_commands(annotations: Mapping[str, str]) -> Commands:
    """The commands among an object's annotations."""
    return Commands(**{field: annotations.get(name) for name, field in _FIELDS.items()})


def shown(value: str) -> str:
    """A value of a user in quotation marks, cut where it is long."""
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…")


def unknown_annotations(annotations: Mapping[str, str]) -> str:
    """What to say of annotations that look like requests and are none; "" when there are none."""
    strange = sorted(key for key in annotations if key.startswith(f"{GROUP}/") and key not in _KNOWN)
    strange = [key for key in strange if key not in _OF_THE_FRAMEWORK]
    return "; ".join(_unknown(key, annotations[key]) for key in strange[:_LISTED])


def _unknown(key: str, value: str) -> str:
    short = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    names = [name.removeprefix(f"{GROUP}/") for name in _KNOWN]
    near = difflib.get_close_matches(key.removeprefix(f"{GROUP}/"), names, n=1)
    meant = f"did you mean {GROUP}/{near[0]}?" if near else f"known are {', '.join(names)}"
    return f"{key}={short} is not known and does nothing; {meant}"
