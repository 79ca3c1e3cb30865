"""Options that several commands share, named as kubectl and etcdctl name them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


StoreName = Annotated[str, typer.Argument(metavar="NAME", help="The ReplicatedStore.", show_default=False)]
NamespaceOption = Annotated[
    str | None,
    typer.Option("-n", "--namespace", help="Namespace of the store. Default: the context's.", show_default=False),
]
KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", help="Path of the kubeconfig. Default: $KUBECONFIG or ~/.kube/config.", show_default=False
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option("--context", help="Context of the kubeconfig. Default: the current one.", show_default=False),
]
ClientOption = Annotated[
    str,
    typer.Option(
        "--client",
        help="Use the certificate of this client of spec.security.clients. Default: the one that all clients share.",
        show_default=False,
    ),
]
UserOption = Annotated[
    str,
    typer.Option(
        "--user",
        metavar="NAME[:PASSWORD]",
        envvar="RSTORE_USER",
        help="User of etcd's auth, beside the certificate. Without a password it is asked for.",
        show_default=False,
    ),
]
PasswordOption = Annotated[
    str,
    typer.Option(
        "--password",
        metavar="PASSWORD",
        envvar="RSTORE_PASSWORD",
        help="Password of --user, which then holds the name alone.",
        show_default=False,
    ),
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="Output format.")]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", help="Talk to a replica of this region. Default: the primary.", show_default=False),
]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        help="host:port of a replica or Service, instead of forwarding a port through the Kubernetes API. "
        "May be given more than once.",
        show_default=False,
    ),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the answer.")]
