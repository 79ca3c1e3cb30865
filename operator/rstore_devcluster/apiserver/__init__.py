"""An embedded Kubernetes API server: one asyncio process that kubectl, Helm, kopf and the Python clients accept."""

from rstore_devcluster.apiserver.http.errors import ApiError
from rstore_devcluster.apiserver.http.options import ApiServerOptions, LogRequest
from rstore_devcluster.apiserver.http.server import ApiServer
from rstore_devcluster.apiserver.storage.store import ObjectList, Store, Watch, WatchEvent

__all__ = ["ApiError", "ApiServer", "ApiServerOptions", "LogRequest", "ObjectList", "Store", "Watch", "WatchEvent"]
