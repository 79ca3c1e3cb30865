"""An embedded Kubernetes API server: one asyncio process that kubectl, Helm, kopf and the Python clients accept."""

from localkube.apiserver.http.options import ApiServerOptions, LogRequest
from localkube.apiserver.http.server import ApiServer

__all__ = ["ApiServer", "ApiServerOptions", "LogRequest"]
