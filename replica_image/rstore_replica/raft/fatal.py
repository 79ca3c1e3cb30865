"""What a group does by default when it cannot go on."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger(__name__)


def terminate_process(error: BaseException) -> None:
    """Ends the process: a replica that is wrong about its log must not serve."""
    logger.critical("raft_failed error=%s", error, exc_info=error)
    os._exit(70)
