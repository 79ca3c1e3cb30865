"""How an API server is reached: its address, its certificates, and the credentials to present.

Kubeconfigs are read by the ``kubernetes`` library, with all the ways to log in that they may name. It is imported only
for that: it takes 20 MiB, and the operator's image does without it.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rstore_kube.errors import ConfigurationError

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS = 60.0
"""How long a pod's token is used until its file is read again: the kubelet replaces it before it expires."""

MALFORMED = (AttributeError, LookupError, TypeError, ValueError)
"""What reading a kubeconfig raises where something in it is of another kind than it should be."""

Authorization = Callable[[], Awaitable[str]]
"""Returns the header ``Authorization`` of the next request, "" for none. Raises OSError."""


async def anonymous() -> str:
    """Returns no header."""
    return ""


@dataclass(frozen=True)
class Access:
    """One API server, and the namespace of requests that name none."""

    host: str
    """Its URL."""
    namespace: str
    tls: ssl.SSLContext | None = None
    """For a URL of ``https``; None is Python's default."""
    authorization: Authorization = anonymous
    server_name: str | None = None
    """What its certificate must name; None: the host."""
    proxy: str | None = None
    """The URL of a proxy."""


async def from_kubeconfig(paths: str, context: str | None = None) -> Access:
    """Returns the access that a kubeconfig describes, or several joined by colons as in ``KUBECONFIG``.

    Raises ConfigurationError.
    """
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config import ConfigException, load_kube_config

    configuration = Configuration()
    try:
        loader = await load_kube_config(
            paths, context=context, client_configuration=configuration, persist_config=False
        )
        tls = _tls_of(configuration)
    except (ConfigException, yaml.YAMLError, OSError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(str(error)) from error
    except MALFORMED as error:
        raise ConfigurationError(f"the kubeconfig is not of the form that it should have: {error}") from error

    async def authorization() -> str:
        settings = await configuration.auth_settings()
        return str(settings["BearerToken"]["value"] or "") if "BearerToken" in settings else ""

    return Access(
        host=str(configuration.host),
        namespace=str(loader.current_context["context"].get("namespace") or "default"),
        tls=tls,
        authorization=authorization,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
    )


def _tls_of(configuration: Configuration) -> ssl.SSLContext:
    """Returns the context that the library would use. Raises OSError."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.disable_strict_ssl_verification:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def from_pod(directory: Path = SERVICE_ACCOUNT, *, clock: Callable[[], float] = time.monotonic) -> Access:
    """Returns the access of this pod's service account, whose files are in ``directory``.

    Raises ConfigurationError outside of a pod.
    """
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{what}", "") for what in ("HOST", "PORT"))
    if not host or not port:
        raise ConfigurationError("no kubeconfig is given, and this is no pod: KUBERNETES_SERVICE_HOST is not set")
    token = _TokenFile(directory / "token", clock)
    try:
        token.read()
        namespace = (directory / "namespace").read_text().strip()
        tls = ssl.create_default_context(cafile=directory / "ca.crt")
    except OSError as error:
        raise ConfigurationError(f"this pod's service account cannot be used: {error}") from error
    bracketed = f"[{host}]" if ":" in host else host
    return Access(f"https://{bracketed}:{port}", namespace, tls, token.authorization)


class _TokenFile:
    """A token that its file is read for every TOKEN_SECONDS."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._read_at = 0.0
        self._token = ""

    def read(self) -> None:
        """Reads the file. Raises OSError, also for an empty one."""
        token = self._path.read_text().strip()
        if not token:
            raise OSError(f"{self._path} is empty")
        self._token, self._read_at = token, self._clock()

    async def authorization(self) -> str:
        """Returns the header. Raises OSError."""
        if self._clock() - self._read_at >= TOKEN_SECONDS:
            self.read()
        return f"Bearer {self._token}"
