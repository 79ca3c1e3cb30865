"""The metrics of a restorer: those of its process. How far it is, is in the store's status."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest


class ProcessMetrics:
    """In a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def take_reading(self) -> None:
        """Implements ``exposition.Exposed``: nothing is kept."""

    def render(self) -> bytes:
        """Implements ``exposition.Exposed``."""
        return generate_latest(self._registry)
