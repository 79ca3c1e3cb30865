"""Loaded by every Python process of a pod: answers the cluster's names as the cluster's DNS would.

Stands alone: imports nothing but the standard library, and nothing when it is not in a pod of the local cluster.
"""

import json
import os
import socket
from typing import Any

_FILE = os.environ.get("LOCALKUBE_DNS_FILE", "")
_NAMESPACE = os.environ.get("LOCALKUBE_NAMESPACE", "default")
_HOSTNAME = os.environ.get("HOSTNAME", "")
_POD_IP = os.environ.get("LOCALKUBE_POD_IP", "")
_DOMAIN = "cluster.local"
_cache: dict[str, Any] = {"version": None, "names": {}}
_real_getaddrinfo = socket.getaddrinfo


def _names() -> dict[str, list[str]]:
    stat = os.stat(_FILE)
    version = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
    if _cache["version"] != version:
        with open(_FILE, encoding="utf-8") as file:
            _cache["names"] = json.load(file)
        _cache["version"] = version
    names: dict[str, list[str]] = _cache["names"]
    return names


def _lookup(host: str) -> list[str] | None:
    """Addresses of a name of the cluster; empty when it would be one of the cluster but is not; None for others."""
    name = host.lower()
    if name == _HOSTNAME and _POD_IP:
        return [_POD_IP]
    if name.endswith("."):
        candidates = [name[:-1]]
    else:
        search = (f"{_NAMESPACE}.svc.{_DOMAIN}", f"svc.{_DOMAIN}", _DOMAIN)
        candidates = [f"{name}.{suffix}" for suffix in search] + [name]
    try:
        names = _names()
    except (OSError, ValueError):
        names = {}
    for candidate in candidates:
        if names.get(candidate):
            return names[candidate]
    return [] if name.rstrip(".").endswith((".svc", "." + _DOMAIN)) else None


def _getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not isinstance(name, str) or not name or flags & socket.AI_NUMERICHOST:
        return _real_getaddrinfo(host, port, family, type, proto, flags)
    addresses = _lookup(name)
    if addresses is None:
        return _real_getaddrinfo(host, port, family, type, proto, flags)
    if not addresses or family not in (0, socket.AF_INET):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    result = []
    for address in addresses:
        result += _real_getaddrinfo(address, port, socket.AF_INET, type, proto, flags | socket.AI_NUMERICHOST)
    return result


def _gethostbyname(host: str) -> str:
    address: str = _getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    return address


if _FILE:
    socket.getaddrinfo = _getaddrinfo
    socket.gethostbyname = _gethostbyname
