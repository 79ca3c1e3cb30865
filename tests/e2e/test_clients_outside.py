"""Clients outside of the cluster: they take the addresses of all regions from the list of members, and certificates
are for these addresses."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from rstore_api.dialling.channels import Address
from rstore_cli.helm import clean_environment
from rstore_testkit.load import wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import ETCDCTL_PATIENCE, find_tool

REGIONS = ("us-east", "eu-west", "ap-south")
OUTSIDE = "127.77.0.1"
"""The address of the load balancers; no certificate of a store is for it by itself."""
CONDITION = "ClientEndpointsAdvertised"
_CHUNK_BYTES = 1 << 16


class LoadBalancer:
    """Passes connections to a port of its own on to a region's Service, until it is closed."""

    def __init__(self, target: str) -> None:
        self._target = Address.parse(target)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, OUTSIDE, 0)
        self.address = f"{OUTSIDE}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Takes no more connections and ends those that there are."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in list(self._writers):
                writer.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        except OSError:
            writer.close()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        finally:
            self._writers -= both
            for one in both:
                one.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side ends; then the other one ends too."""
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        return  # one of the two has closed its connection
    finally:
        writer.close()


@asynccontextmanager
async def load_balancers(store: Store) -> AsyncIterator[dict[str, LoadBalancer]]:
    """One before each region."""
    balancers = {region: LoadBalancer(store.endpoint(region)) for region in REGIONS}
    try:
        for balancer in balancers.values():
            await balancer.open()
        yield balancers
    finally:
        for balancer in balancers.values():
            await balancer.close()


@asynccontextmanager
async def advertised(store: Store, endpoints: Mapping[str, list[str]]) -> AsyncIterator[None]:
    """Every region lists these addresses inside, and none behind."""
    await _edit(store, endpoints)
    try:
        await wait_until(lambda: _is(store, "True"), what="the addresses in every list", poll_seconds=0.3)
        yield
    finally:
        await _edit(store, {region: [] for region in REGIONS})
        await wait_until(lambda: _is(store, ""), what="no addresses", poll_seconds=0.3)


async def _edit(store: Store, endpoints: Mapping[str, list[str]]) -> None:
    regions = await store.regions()
    patch = [
        {"op": "add", "path": f"/spec/regions/{regions.index(region)}/clientEndpoints", "value": addresses}
        for region, addresses in endpoints.items()
    ]
    await store.kube("patch", "rstore", store.name, "--type=json", f"-p={json.dumps(patch)}")


async def _is(store: Store, wanted: str) -> bool:
    """Whether the condition has that status, "" for none, about the newest spec."""
    object_ = await store.object()
    status = object_.get("status", {})
    found = next((one for one in status.get("conditions", []) if one["type"] == CONDITION), None)
    seen = status.get("observedGeneration") == object_["metadata"]["generation"]
    return seen and (found["status"] if found is not None else "") == wanted


async def etcdctl(store: Store, addresses: list[str], *arguments: str) -> str:
    """Runs a command that must succeed, off the event loop, which serves the load balancers; returns its output."""
    tls = store.tls or store.write_certificates()
    command = [
        find_tool("etcdctl"),
        *ETCDCTL_PATIENCE,
        f"--endpoints={','.join(f'https://{address}' for address in addresses)}",
        f"--cacert={tls.ca}",
        f"--cert={tls.cert}",
        f"--key={tls.key}",
        *arguments,
    ]
    environment = {**clean_environment(), "ETCDCTL_API": "3", "PATH": os.environ["PATH"]}
    run = partial(subprocess.run, text=True, capture_output=True, check=False, timeout=WAIT_SECONDS, env=environment)
    done = await asyncio.to_thread(run, command)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


async def member_urls(store: Store, address: str) -> dict[str, list[str]]:
    """The client URLs of each member, as the list of the replica behind that address has them."""
    listed = json.loads(await etcdctl(store, [address], "member", "list", "-w", "json"))
    return {member["name"]: member["clientURLs"] for member in listed["members"]}


async def verify(store: Store, address: str, host: str) -> None:
    """Raises ssl.SSLError unless the certificate behind the address is the store's and for that host."""
    tls = store.tls or store.write_certificates()
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(str(tls.cert), str(tls.key))
    where = Address.parse(address)
    _, writer = await asyncio.open_connection(where.host, where.port, ssl=context, server_hostname=host)
    writer.close()


async def _pods(store: Store) -> set[str]:
    pods = (await store.kube_get("pods", f"-l=replicatedstore.io/store={store.name}"))["items"]
    return {pod["metadata"]["uid"] for pod in pods}


async def test_a_client_outside_takes_the_addresses_of_all_regions_from_the_list(store):
    pods = await _pods(store)
    async with load_balancers(store) as balancers:
        addresses = {region: balancer.address for region, balancer in balancers.items()}
        endpoints = {region: [addresses[region], f"{region}-{{ordinal}}.example.com:2379"] for region in REGIONS}
        async with advertised(store, endpoints):
            lists = [await member_urls(store, addresses[region]) for region in REGIONS]
            assert lists[0] == lists[1] == lists[2]
            for name, urls in lists[0].items():
                region, _, pod = name.partition("/")
                inside = f"https://{pod}.{store.name}-{region}-peers.{store.kubectl.namespace}.svc:2379"
                each = f"https://{region}-{pod.rpartition('-')[2]}.example.com:2379"
                assert urls == [inside, f"https://{addresses[region]}", each]
            for region in REGIONS:
                await verify(store, addresses[region], f"{region}-8.example.com")
            reachable = sorted({url.removeprefix("https://") for urls in lists[0].values() for url in urls[1:2]})
            assert reachable == sorted(addresses.values())
            assert await etcdctl(store, reachable, "put", "outside", "1") == "OK\n"
            primary = (await store.status())["primaryRegion"]
            await balancers[primary].close()
            assert await etcdctl(store, reachable, "put", "outside", "2") == "OK\n"
            assert (await etcdctl(store, reachable, "get", "outside")).split() == ["outside", "2"]

    async def forgotten() -> bool:
        lists = [await member_urls(store, store.endpoint(region)) for region in REGIONS]
        return all(len(urls) == 1 for members in lists for urls in members.values())

    await wait_until(forgotten, what="lists without addresses for clients outside", poll_seconds=0.3)
    assert await _pods(store) == pods, "no pod was restarted"
