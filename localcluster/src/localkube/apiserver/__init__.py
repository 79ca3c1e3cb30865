"""An embedded Kubernetes API server: one asyncio process that kubectl, Helm, kopf and the Python clients accept."""

from localkube.apiserver.errors import ApiError
from localkube.apiserver.http.options import ApiServerOptions, LogRequest
from localkube.apiserver.http.server import ApiServer
from localkube.apiserver.objects.store import ObjectList, Store, Watch, WatchEvent

__all__ = ["ApiError", "ApiServer", "ApiServerOptions", "LogRequest", "ObjectList", "Store", "Watch", "WatchEvent"]
