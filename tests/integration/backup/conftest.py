"""Commands against a cluster that stands in for Kubernetes, and real replicas."""

from integration.replicas.conftest import authority, start_regions
from unit.cli.conftest import cluster, run

__all__ = ["authority", "cluster", "run", "start_regions"]
