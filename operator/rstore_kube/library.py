"""What is used of the ``kubernetes`` library: credentials, certificates and connections.

Whatever is imported of it, its packages import a client and a class for each kind of object, in two halves, and what
those need: 19 MiB, and most of a second. Here the packages are entered first without their own code, which runs once
something is asked for that they do not have yet: only the modules that are used are loaded, and whoever else uses the
library in this process finds it whole.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CLIENT = "kubernetes.aio.client"
PACKAGES = ("kubernetes", "kubernetes.aio", CLIENT, "kubernetes.aio.utils")


def _postpone(name: str) -> None:
    """Enters a package whose own code runs when something is asked for that it does not have."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def complete(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__["__getattr__"] = complete
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


def _api_client(*arguments: Any, **named: Any) -> Any:
    """Returns an ``ApiClient``, for the functions of ``kubernetes.aio.config`` that make one."""
    return importlib.import_module(f"{CLIENT}.api_client").ApiClient(*arguments, **named)


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """Keeps a module from being imported in the block, unless it is there already. kopf takes the classes of
    ``kubernetes.client``, the other half of the library, where it can have them."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # as the documentation of sys.modules says
    try:
        yield
    finally:
        del sys.modules[name]


if "kubernetes" not in sys.modules:
    for _name in PACKAGES:
        _postpone(_name)
    _client: Any = sys.modules[CLIENT]
    _client.Configuration = importlib.import_module(f"{CLIENT}.configuration").Configuration
    _client.ApiClient = _api_client
    importlib.import_module("kubernetes.aio.config")
    del _client.ApiClient

from kubernetes.aio.client.configuration import Configuration as Configuration  # noqa: E402
from kubernetes.aio.client.exceptions import ApiException as ApiException  # noqa: E402
from kubernetes.aio.client.rest import RESTClientObject as RESTClientObject  # noqa: E402
from kubernetes.aio.config import ConfigException as ConfigException  # noqa: E402
from kubernetes.aio.config import load_incluster_config as load_incluster_config  # noqa: E402
from kubernetes.aio.config import load_kube_config as load_kube_config  # noqa: E402
