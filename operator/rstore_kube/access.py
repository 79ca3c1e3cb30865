"""How an API server is reached: its address, its certificates, and the credentials to present."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from rstore_kube.errors import ConfigurationError
from rstore_kube.library import ConfigException, Configuration, load_incluster_config, load_kube_config

MALFORMED = (AttributeError, LookupError, TypeError, ValueError)
"""What reading a kubeconfig raises where something in it is of another kind than it should be."""
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Access:
    """The library's description of one API server, and the namespace of requests that name none."""

    configuration: Configuration
    namespace: str


async def from_kubeconfig(paths: str, context: str | None = None) -> Access:
    """Returns the access that a kubeconfig describes, or several joined by colons as in ``KUBECONFIG``.

    Raises ConfigurationError.
    """
    configuration = Configuration()
    try:
        loader = await load_kube_config(
            paths, context=context, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, yaml.YAMLError, OSError) as error:
        raise ConfigurationError(str(error)) from error
    except MALFORMED as error:
        raise ConfigurationError(f"the kubeconfig is not of the form that it should have: {error}") from error
    return Access(configuration, str(loader.current_context["context"].get("namespace") or "default"))


def from_pod() -> Access:
    """Returns the access of this pod's service account. Raises ConfigurationError outside of a pod."""
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
        return Access(configuration, NAMESPACE_FILE.read_text().strip())
    except (ConfigException, OSError) as error:
        raise ConfigurationError(str(error)) from error
