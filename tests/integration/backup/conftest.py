"""Commands against a cluster that stands in for Kubernetes."""

from unit.cli.conftest import cluster, run

__all__ = ["cluster", "run"]
