"""The API server and kubectl, as the local cluster's own tests use them."""

from apiserver.conftest import kubectl, kubectl_path, server

__all__ = ["kubectl", "kubectl_path", "server"]
