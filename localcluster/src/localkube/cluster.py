"""The whole local cluster in one process: API server, controllers, runner, names and service addresses."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Self

from localkube.apiserver.errors import ApiError as ServerError
from localkube.apiserver.http.options import ApiServerOptions, LogRequest
from localkube.apiserver.http.server import ApiServer
from localkube.controllers.api import Api
from localkube.controllers.budgets import BudgetController
from localkube.controllers.claims import ClaimController, ensure_default_class
from localkube.controllers.deployment import DeploymentController
from localkube.controllers.endpoints import EndpointsController
from localkube.controllers.engine import Context, Manager
from localkube.controllers.garbage import GarbageCollector
from localkube.controllers.namespaces import NamespaceController
from localkube.controllers.nodes import DEFAULT_NODES, NodeSpec, ensure_nodes, remove_other_nodes
from localkube.controllers.replicaset import ReplicaSetController
from localkube.controllers.resources import SERVICE_ACCOUNTS, Obj
from localkube.controllers.root_ca import RootCaPublisher
from localkube.controllers.scheduler import Scheduler
from localkube.controllers.statefulset import StatefulSetController
from localkube.links.wiring import Wiring, WiringError
from localkube.network import ClusterNetwork, NetworkError
from localkube.proxy import ServiceProxy
from localkube.runner.access import ClusterAccess, Outlook
from localkube.runner.backoff import RestartPolicy
from localkube.runner.dns import DnsFile
from localkube.runner.images import DEFAULT_IMAGES
from localkube.runner.logs import LogQuery
from localkube.runner.runner import LogsError, Runner, RunnerOptions

log = logging.getLogger(__name__)

API_PORT = 6443
ACCOUNT_SECONDS = 120.0


@dataclass(frozen=True)
class ClusterOptions:
    """How a local cluster is set up. Two clusters need two data directories; everything else they share nothing of."""

    data_dir: Path
    """Objects, keys, volumes, logs; what is in it is taken up again."""
    port: int = API_PORT
    """Port of the API server, at an address of the cluster's own."""
    nodes: tuple[NodeSpec, ...] = DEFAULT_NODES
    images: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(DEFAULT_IMAGES))
    """Base name of an image's repository → the program it stands for."""
    address_variables: tuple[str, ...] = ()
    """Environment variables that give a pod's programs the address to listen at; all pods share one set of ports."""
    restarts: RestartPolicy = field(default_factory=RestartPolicy)
    """Back-off of containers that crash."""
    faults: bool = False
    """Relays between regions, places and API server, so that links can be slowed down and cut."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Name of a place → the label, as LABEL=VALUE, of the pods that are there, whatever the region of their node."""


class Cluster:
    """A running local cluster, as an async context manager. On leaving it every process it started is gone."""

    def __init__(self, options: ClusterOptions, on_step: Callable[[str], None] = log.debug) -> None:
        self.options = options
        self._on_step = on_step
        """Receives what the start waits for from now on."""
        self._stack = AsyncExitStack()
        self._server: ApiServer | None = None
        self._runner: Runner | None = None
        self._network: ClusterNetwork | None = None
        self._context: Context | None = None

    @property
    def kubeconfig_path(self) -> Path:
        """Returns the administrator's kubeconfig."""
        return self.options.data_dir / "kubeconfig"

    @property
    def url(self) -> str:
        """Returns where the API server listens."""
        return self.server.url

    @property
    def service_cidr(self) -> str:
        """Returns where ClusterIPs come from."""
        assert self._network is not None, "the cluster is not started"
        return self._network.service_cidr

    @property
    def server(self) -> ApiServer:
        """Returns the API server."""
        assert self._server is not None, "the cluster is not started"
        return self._server

    @property
    def runner(self) -> Runner:
        """Returns the process runner."""
        assert self._runner is not None, "the cluster is not started"
        return self._runner

    @property
    def context(self) -> Context:
        """Returns what the controllers share: API and caches."""
        assert self._context is not None, "the cluster is not started"
        return self._context

    async def __aenter__(self) -> Self:
        if not sys.platform.startswith("linux"):
            raise NetworkError("the local cluster needs Linux: it gives each pod a loopback address of its own")
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        options = self.options
        options.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._stack.callback(_lock(options.data_dir).close)
        self._on_step("addresses for the cluster")
        network = self._network = ClusterNetwork.take(options.data_dir / "network.json")
        self._stack.callback(network.release)

        self._on_step("the API server")
        server = self._server = ApiServer(
            ApiServerOptions(
                host=network.api_host,
                port=options.port,
                data_dir=options.data_dir / "apiserver",
                service_cidr=network.service_cidr,
                log_provider=self._logs,
                extra_hosts=network.api_relays,
            )
        )
        await server.start()
        self._stack.push_async_callback(server.stop)
        server.kubeconfig(self.kubeconfig_path)

        self._on_step("nodes and the default StorageClass")
        context = self._context = Context(Api(server.store, server.mint_token))
        await self._prepare(context)
        self._on_step("the controllers")
        volumes_dir, dns_file = options.data_dir / "volumes", options.data_dir / "dns.json"
        manager = Manager(
            context,
            [
                NamespaceController,
                lambda shared: RootCaPublisher(shared, server.ca_pem.decode()),
                GarbageCollector,
                lambda shared: ClaimController(shared, volumes_dir),
                Scheduler,
                ReplicaSetController,
                DeploymentController,
                StatefulSetController,
                EndpointsController,
                BudgetController,
                ServiceProxy,
            ],
        )
        await manager.start()
        self._stack.push_async_callback(manager.stop)
        DnsFile(context, dns_file).start()
        if options.faults:
            self._on_step("the relays between regions")
        outlook = await self._wire(context, network, server) if options.faults else None
        self._on_step("the runner of pods")
        runner = self._runner = Runner(
            context,
            RunnerOptions(
                directory=options.data_dir,
                volumes_dir=volumes_dir,
                dns_file=dns_file,
                access=ClusterAccess(server.url, server.ca_pem),
                nodes=frozenset(n.name for n in options.nodes),
                host_ip=network.api_host,
                images=options.images,
                address_variables=options.address_variables,
                restarts=options.restarts,
                outlook=outlook,
            ),
            network.pods.allocate,
            network.pods.release,
        )
        await runner.start()
        self._stack.push_async_callback(runner.stop)
        self._on_step("the ServiceAccount default of the namespace default")
        await self._wait_default_account(context)

    async def _wire(self, context: Context, network: ClusterNetwork, server: ApiServer) -> Callable[[Obj], Outlook]:
        """Start the relays; what pods see of names and of the API server then depends on where they are."""
        relays = network.relays
        options = self.options
        try:
            wiring = Wiring(
                *(options.data_dir, options.nodes, options.places, network.api_relays, relays.allocate, relays.release)
            )
        except WiringError as error:
            raise NetworkError(str(error)) from error
        try:
            await wiring.start(context, server.url)
        except WiringError as error:
            await wiring.stop()
            raise NetworkError(str(error)) from error
        self._stack.push_async_callback(wiring.stop)
        outlooks = {
            place: Outlook(wiring.dns_file(place), ClusterAccess(wiring.api_url(place, server.url), server.ca_pem))
            for place in wiring.callers()
        }
        for place, outlook in outlooks.items():
            DnsFile(context, outlook.dns_file, partial(wiring.names, place)).start()
        return lambda pod: outlooks[wiring.place_of(pod)]

    async def _prepare(self, context: Context) -> None:
        """The objects a fresh cluster has."""
        await ensure_default_class(context)
        assert self._network is not None
        await ensure_nodes(context, self.options.nodes, self._network.api_host)
        await remove_other_nodes(context, self.options.nodes)

    async def _wait_default_account(self, context: Context) -> None:
        accounts = context.informers.of(SERVICE_ACCOUNTS)
        async with asyncio.timeout(ACCOUNT_SECONDS):
            seen = asyncio.Event()
            accounts.subscribe(lambda _c, _o, obj: seen.set() if obj["metadata"]["namespace"] == "default" else None)
            await seen.wait()

    async def _logs(self, request: LogRequest) -> AsyncIterator[bytes]:
        """Yields the API server's log provider."""
        since = None
        if request.since_seconds is not None:
            since = datetime.now(UTC) - timedelta(seconds=request.since_seconds)
        query = LogQuery(
            follow=request.follow,
            tail_lines=request.tail_lines,
            since=since,
            timestamps=request.timestamps,
            limit_bytes=request.limit_bytes,
        )
        try:
            chunks = self.runner.logs(
                request.namespace, request.pod, request.container, query, previous=request.previous
            )
        except LogsError as error:
            raise ServerError(error.code, "NotFound" if error.code == 404 else "BadRequest", error.message) from error
        async for chunk in chunks:
            yield chunk


def _lock(data_dir: Path) -> IO[str]:
    """Hold the data directory; released by closing what is returned."""
    lock = (data_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise NetworkError(f"another cluster is running with the data directory {data_dir}") from error
    return lock
