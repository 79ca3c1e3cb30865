"""The annotations by which a person asks for something. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rstore_operator.resource.model import GROUP

FAILOVER_TO = f"{GROUP}/failover-to"
FAILOVER_MODE = f"{GROUP}/failover-mode"
FAILOVER_DRY_RUN = f"{GROUP}/failover-dry-run"
ACCEPT_DATA_LOSS = f"{GROUP}/accept-data-loss"
ABORT_FAILOVER = f"{GROUP}/abort-failover"
PAUSED = f"{GROUP}/paused"
ALL = (FAILOVER_TO, FAILOVER_MODE, FAILOVER_DRY_RUN, ACCEPT_DATA_LOSS, ABORT_FAILOVER, PAUSED)


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
    def abort(self) -> bool:
        """Whether the switchover under way should be called off."""
        return self.abort_failover == "true"


def read_commands(annotations: Mapping[str, str]) -> Commands:
    """The commands among an object's annotations."""
    return Commands(
        failover_to=annotations.get(FAILOVER_TO),
        failover_mode=annotations.get(FAILOVER_MODE),
        dry_run=annotations.get(FAILOVER_DRY_RUN),
        accept_data_loss=annotations.get(ACCEPT_DATA_LOSS),
        abort_failover=annotations.get(ABORT_FAILOVER),
        paused_value=annotations.get(PAUSED),
    )
