"""The version of etcd whose API and behaviour replicas offer; clients choose by it what they may rely on.

It is not the version of the replicas, which is :data:`rstore_api.__version__`.
"""

from __future__ import annotations

SERVER_VERSION = "3.5.21"
"""As ``version`` in the answer of Maintenance.Status. Kubernetes asks for notices of progress from 3.5.13 on."""

CLUSTER_VERSION = "3.5.0"
"""The version that all members of a cluster agree on and the form of its data, which etcd states without the patch."""
