"""An embedded Kubernetes API server: one asyncio process that kubectl, Helm, kopf and the Python clients accept."""

from .errors import ApiError
from .options import ApiServerOptions, LogRequest
from .server import ApiServer
from .storage import ObjectList, Store, Watch, WatchEvent

__all__ = ["ApiError", "ApiServer", "ApiServerOptions", "LogRequest", "ObjectList", "Store", "Watch", "WatchEvent"]
