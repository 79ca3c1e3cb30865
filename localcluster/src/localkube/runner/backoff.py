"""How long to wait before a container is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """The first restart is immediate, then waits double from `initial_seconds` to `max_seconds`.

    A run of at least `reset_seconds` starts over. The kubelet's rule, with shorter times by default.
    """

    initial_seconds: float = 1.0
    max_seconds: float = 60.0
    reset_seconds: float = 120.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th run in a row that was short (from 1)."""
        if failures <= 1:
            return 0.0
        return float(min(self.max_seconds, self.initial_seconds * 2 ** min(failures - 2, 30)))


def should_restart(policy: str, exit_code: int) -> bool:
    """By the pod's restartPolicy."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
