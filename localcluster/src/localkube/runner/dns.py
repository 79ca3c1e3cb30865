"""The cluster's names: a table kept in a file that is replaced at every change and read by every lookup in a pod."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from localkube.controllers.endpoints import is_included_ready, selects, serving
from localkube.controllers.engine import Context
from localkube.controllers.objects import meta
from localkube.controllers.resources import PODS, SERVICES, Obj

DOMAIN = "cluster.local"

View = Callable[[Mapping[str, list[str]]], dict[str, list[str]]]
"""What a place sees of the table."""


def records(services: Sequence[Obj], pods: Sequence[Obj]) -> dict[str, list[str]]:
    """Full name (without the last dot) → addresses.

    A headless Service answers with its pods, each also by `<hostname>.<service>`; others with the ClusterIP. One that
    is no loopback address cannot be reached here, so such a Service answers with its pods too.
    """
    result: dict[str, list[str]] = {}
    for service in services:
        name = f"{meta(service)['name']}.{meta(service)['namespace']}.svc.{DOMAIN}"
        cluster_ip = service["spec"].get("clusterIP") or "None"
        if cluster_ip != "None" and ip_address(cluster_ip).is_loopback:
            result[name] = [cluster_ip]
            continue
        members = [
            p
            for p in pods
            if meta(p)["namespace"] == meta(service)["namespace"]
            and selects(service, p)
            and serving(p)
            and is_included_ready(service, p)
        ]
        result[name] = [p["status"]["podIP"] for p in members]
        for pod in members:
            spec = pod["spec"]
            if spec.get("hostname") and spec.get("subdomain") == meta(service)["name"]:
                result[f"{spec['hostname']}.{name}"] = [pod["status"]["podIP"]]
    return result


class DnsFile:
    """Keeps the file current."""

    def __init__(self, context: Context, path: Path, view: View = dict) -> None:
        self._context = context
        self._path = path
        self._view = view
        self._scheduled = False
        self._written: dict[str, list[str]] | None = None

    def start(self) -> None:
        """Write the file now and after each change of services and pods."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write()
        self._context.informers.of(SERVICES).subscribe(lambda _c, _o, _n: self._soon())
        self._context.informers.of(PODS).subscribe(lambda _c, _o, _n: self._soon())

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._scheduled = False
        informers = self._context.informers
        table = self._view(records(informers.of(SERVICES).items(), informers.of(PODS).items()))
        if table != self._written:
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(table))
            fresh.replace(self._path)
            self._written = table
