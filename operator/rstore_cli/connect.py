"""From the name of a store to a connected client: certificates from its Secret, a ready replica, a forwarded port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from rstore_api.client import Client, TlsPem, User
from rstore_api.domain import names
from rstore_api.domain.kubernetes import pod_selector
from rstore_api.errors import StoreError

from rstore_cli.cluster import Cluster
from rstore_cli.errors import CliError, NotFoundError, UsageError
from rstore_cli.portforward import PortForward
from rstore_cli.regions import pick_region

TLS_KEYS = ("ca.crt", "tls.crt", "tls.key")


class _Closable(Protocol):
    async def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


async def client_certificates(cluster: Cluster, store: str, client: str = "") -> dict[str, bytes]:
    """Returns the three PEM files of a client of the store, by the keys of its Secret: of ``client``, one of
    spec.security.clients, or of the certificate that all others share. Raises CliError.
    """
    secret = names.own_tls_secret(store, client) if client else names.client_tls_secret(store)
    return await read_certificates(cluster, store, secret, lambda spec: _why_missing(store, spec, client))


async def read_certificates(
    cluster: Cluster, store: str, name: str, why_missing: Callable[[Mapping[str, Any]], str] | None = None
) -> dict[str, bytes]:
    """Returns the three PEM files in the Secret of that name, one of the store's, by their keys. Raises CliError, with
    what ``why_missing`` says about the store's spec as a hint when the Secret is not there.
    """
    waits = f"`kubectl describe rstore {store}` shows what it waits for"
    try:
        secret = await cluster.secret(name)
    except NotFoundError as error:
        spec = (await cluster.store(store)).get("spec", {})  # raises if the store itself does not exist
        raise CliError(error.message, hint=(why_missing(spec) if why_missing else "") or waits) from error
    missing = [key for key in TLS_KEYS if not secret.get(key)]
    if missing:
        raise CliError(f'secret "{name}" lacks {", ".join(missing)}', hint=waits)
    return {key: secret[key] for key in TLS_KEYS}


def _why_missing(store: str, spec: Mapping[str, Any], client: str) -> str:
    """Returns why the spec gives the client no Secret; "" when it does."""
    security = spec.get("security", {})
    own = [str(item.get("name")) for item in security.get("clients", ())]
    listed = f"the clients of {store} are {', '.join(own)}" if own else f"{store} has no spec.security.clients"
    if client:
        return "" if client in own else listed
    disabled = security.get("sharedClient", {}).get("mode") == "Disabled"
    return f"spec.security.sharedClient is Disabled; name a client by --client: {listed}" if disabled else ""


def tls_of(pem: Mapping[str, bytes]) -> TlsPem:
    """Returns the files of :func:`read_certificates`, to dial with."""
    return TlsPem(*(pem[key] for key in TLS_KEYS))


@asynccontextmanager
async def open_replica(cluster: Cluster, pod: str, tls: TlsPem, *, user: User | None = None) -> AsyncIterator[Client]:
    """Yields a client of one replica, through a forwarded port. An error names why forwarding failed."""

    def make(address: str) -> Client:
        return Client([address], tls=tls, user=user)

    async with open_pod(cluster, pod, names.CLIENT_PORT, make) as client:
        yield client


@asynccontextmanager
async def open_pod(cluster: Cluster, pod: str, port: int, make: Callable[[str], C]) -> AsyncIterator[C]:
    """Yields what ``make`` returns for the local address of a pod's port. An error names why forwarding failed."""
    async with PortForward(partial(cluster.open_port, pod, port)) as forward:
        client = make(forward.endpoint)
        try:
            yield client
        except StoreError as error:
            if forward.last_error:
                raise CliError(f"{error} (forwarding to pod {pod}: {forward.last_error})") from error
            raise
        finally:
            await client.close()


@asynccontextmanager
async def open_store(
    cluster: Cluster,
    name: str,
    *,
    region: str | None,
    endpoints: Sequence[str] | None,
    client_name: str,
    user: User | None,
) -> AsyncIterator[Client]:
    """Yields a client of the ``endpoints``, or without them of a ready replica of the region (default: the primary).

    It has the certificate of ``client_name``, see :func:`client_certificates`.
    """
    tls = tls_of(await client_certificates(cluster, name, client_name))
    if endpoints:
        try:
            client = Client(list(endpoints), tls=tls, user=user)
        except ValueError as error:
            raise UsageError(str(error), hint="--endpoint is host:port, for example 127.0.0.1:2379") from error
        async with client:
            yield client
        return
    chosen = pick_region(await cluster.store(name), region)
    ready = [pod for pod in await cluster.pods(name, chosen) if pod.ready]
    if not ready:
        raise CliError(
            f'no replica of region "{chosen}" is ready',
            hint=f"`rstore status {name}` and `kubectl get pods -l {pod_selector(name)}` show why",
        )
    async with open_replica(cluster, ready[0].name, tls, user=user) as client:
        yield client
