"""Puts relays between the places of a local cluster: what each pod sees of names and of the API server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from localkube.controllers.engine import Context
from localkube.controllers.nodes import NodeSpec
from localkube.controllers.objects import labels_of
from localkube.controllers.resources import PODS, Obj
from localkube.links.switchboard import STATE_FILE, Route, routes_to_line

log = logging.getLogger(__name__)

API = "api"
START_SECONDS = 15.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02


class WiringError(Exception):
    """The relays could not be started."""


def place_of(pod: Obj, regions: Mapping[str, str], places: Mapping[str, str]) -> str:
    """Returns the place of ``places`` whose ``LABEL=VALUE`` a pod has, or the region of its node (``regions`` by node).

    Without either the pod is nowhere: "".
    """
    labels = {f"{name}={value}" for name, value in labels_of(pod).items()}
    own = next((place for place, label in places.items() if label in labels), None)
    return own if own is not None else regions.get(pod["spec"].get("nodeName") or "", "")


def ports_of(pod: Obj) -> tuple[int, ...]:
    """Returns the TCP ports that a pod's containers declare."""
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports") or [])
    return tuple(sorted({int(port["containerPort"]) for port in ports if port.get("protocol", "TCP") == "TCP"}))


class Wiring:
    """A relay for each pod in each other place, with an address of its own there, and one for the API server."""

    def __init__(
        self,
        directory: Path,
        nodes: Sequence[NodeSpec],
        places: Mapping[str, str],
        api_hosts: Sequence[str],
        allocate: Callable[[], str],
        release: Callable[[str], None],
    ) -> None:
        """``places``: pods with a label, as ``LABEL=VALUE``, that are a place of their own, by its name.
        ``api_hosts``: addresses for the relays to the API server, one for each place, in its certificate.
        """
        self._directory = directory
        self._regions = {node.name: node.region for node in nodes}
        self._places = places
        self._callers = (*sorted({node.region for node in nodes}), *places)
        if len(set(self._callers) | {API}) <= len(self._callers):
            raise WiringError(f"two places have the same name: {', '.join((*self._callers, API))}")
        if len(self._callers) > len(api_hosts):
            raise WiringError(f"links can be set between {len(api_hosts)} places at most")
        self._api_hosts = dict(zip(self._callers, api_hosts, strict=False))
        self._allocate, self._release = allocate, release
        self._relays: dict[tuple[str, str], str] = {}
        self._api: tuple[str, int] = ("", 0)
        self._context: Context | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._scheduled = False
        self._sent = ""

    def callers(self) -> tuple[str, ...]:
        """Returns the places that connections come from."""
        return self._callers

    def place_of(self, pod: Obj) -> str:
        """Returns the place of a pod, "" for one that is nowhere."""
        return place_of(pod, self._regions, self._places)

    def dns_file(self, place: str) -> Path:
        """Returns the file of names that pods in a place use."""
        return self._directory / f"dns-{place}.json"

    def api_url(self, place: str, url: str) -> str:
        """Returns the URL of the API server for pods in a place."""
        port = urlsplit(url).port
        return f"https://{self._api_hosts[place]}:{port}" if place in self._api_hosts else url

    def names(self, place: str, table: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Returns the addresses to which names, and addresses of pods, lead in a place."""
        relays = {address: relay for (caller, address), relay in self._relays.items() if caller == place}
        seen = {name: [relays.get(address, address) for address in addresses] for name, addresses in table.items()}
        return seen | {address: [relay] for address, relay in relays.items()}

    async def start(self, context: Context, url: str) -> None:
        """Starts the relay process; routes follow the pods from then on. Raises WiringError."""
        self._context = context
        parts = urlsplit(url)
        self._api = (parts.hostname or "", parts.port or 0)
        state = self._directory / STATE_FILE
        state.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "localkube.links", "--serve", str(self._directory)),
            stdin=asyncio.subprocess.PIPE,
            cwd=self._directory,
        )
        self._watch = asyncio.create_task(self._report_its_end(self._process), name="relays")
        self._update()
        try:
            async with asyncio.timeout(START_SECONDS):
                while not state.exists():
                    if self._process.returncode is not None:
                        raise WiringError("the relay process ended at once")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise WiringError("the relay process did not get ready") from error
        context.informers.of(PODS).subscribe(lambda _c, _o, _n: self._soon())
        self._soon()

    async def stop(self) -> None:
        """Ends the relay process."""
        if self._watch is not None:
            self._watch.cancel()
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        (self._directory / STATE_FILE).unlink(missing_ok=True)

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._update)

    def _update(self) -> None:
        self._scheduled = False
        assert self._context is not None
        self._follow(self._context.informers.of(PODS).items())

    def _follow(self, pods: Iterable[Obj]) -> None:
        """Gives each pod with an address a relay in every other place, and sends the routes to the process."""
        routes = [
            Route(caller, API, host, self._api[0], (self._api[1],))
            for caller, host in self._api_hosts.items()
            if caller in self._callers
        ]
        wanted: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}
        for pod in pods:
            address, place, ports = (pod.get("status") or {}).get("podIP"), self.place_of(pod), ports_of(pod)
            if address and place and ports:
                wanted |= {(caller, address): (place, ports) for caller in self._callers if caller != place}
        for key in [key for key in self._relays if key not in wanted]:
            self._release(self._relays.pop(key))
        for (caller, address), (place, ports) in wanted.items():
            relay = self._relays.get((caller, address))
            if relay is None:
                relay = self._relays[(caller, address)] = self._allocate()
            routes.append(Route(caller, place, relay, address, ports))
        line = routes_to_line(routes, (*self._callers, API))
        if line != self._sent and self._process is not None and self._process.stdin is not None:
            self._sent = line
            self._process.stdin.write(line.encode())

    async def _report_its_end(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        log.error("the relay process ended with status %s: places cannot reach each other any more", status)
