"""Makes commands of coroutines that read or write the data of a store: as which client, as which user, and where."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, get_type_hints

import typer
from rstore_api.client import Client, TlsPem, User

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.connect import client_certificates, open_replica, open_store, tls_of
from rstore_cli.errors import UsageError
from rstore_cli.options import (
    ClientOption,
    EndpointOption,
    PasswordOption,
    RegionOption,
    StoreName,
    TimeoutOption,
    UserOption,
)


@dataclass(frozen=True)
class StoreAccess:
    """A store, and how its data is reached."""

    cluster: Cluster
    name: str
    region: str | None
    endpoints: Sequence[str] | None
    client_name: str
    user: User | None
    timeout_seconds: float

    def open(self) -> AbstractAsyncContextManager[Client]:
        """Returns a client of the store, for ``async with``; see :func:`rstore_cli.connect.open_store`."""
        return open_store(
            self.cluster,
            self.name,
            region=self.region,
            endpoints=self.endpoints,
            client_name=self.client_name,
            user=self.user,
        )

    async def tls(self) -> TlsPem:
        """Returns the certificate of the client."""
        return tls_of(await client_certificates(self.cluster, self.name, self.client_name))

    @asynccontextmanager
    async def open_replica(self, pod: str, tls: TlsPem) -> AsyncIterator[Client]:
        """Yields a client of one replica."""
        async with open_replica(self.cluster, pod, tls, user=self.user) as client:
            yield client


def on_store(
    *,
    timeout_seconds: float | None = 10.0,
    has_region: bool = True,
    has_endpoint: bool = True,
    named_by: tuple[Any, Any] = (StoreName, inspect.Parameter.empty),
) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Returns a decorator that makes a command for Typer of a coroutine.

    In the place of the coroutine's first parameter, a :class:`StoreAccess`, the command has the name of a store, and
    the options that say how its data is reached; a region and an endpoint only where these may be chosen, a timeout
    only where ``timeout_seconds``, its default, is given. ``named_by`` is the parameter that names the store, and its
    default.
    """
    options: list[tuple[str, Any, Any]] = [
        *([("region", RegionOption, None)] if has_region else []),
        *([("endpoint", EndpointOption, None)] if has_endpoint else []),
        ("client", ClientOption, ""),
        ("user", UserOption, ""),
        ("password", PasswordOption, ""),
        *([] if timeout_seconds is None else [("timeout", TimeoutOption, timeout_seconds)]),
    ]

    def decorate(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        async def command(cluster: Cluster, **arguments: Any) -> None:
            given = {name: arguments.pop(name) for name, _, _ in options}
            access = StoreAccess(
                cluster,
                arguments.pop("name"),
                given.get("region"),
                given.get("endpoint"),
                given["client"],
                user_of(given["user"], given["password"], ask=_ask),
                given.get("timeout", math.inf),
            )
            await function(access, **arguments)

        return on_cluster(_with_parameters(command, function, [("name", *named_by), *options]))

    return decorate


def _with_parameters(
    command: Callable[..., Awaitable[None]],
    function: Callable[..., Awaitable[None]],
    options: Sequence[tuple[str, Any, Any]],
) -> Callable[..., Awaitable[None]]:
    """Gives ``command`` the name, the help and the parameters of ``function``, and the added ones: of these the first
    comes first, the others come last.
    """
    hints = get_type_hints(function, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, kind, default=default, annotation=option) for name, option, default in options]
    parameters = [
        inspect.Parameter("cluster", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Cluster),
        added[0],
        *(one.replace(annotation=hints[one.name], kind=kind) for one in own),
        *added[1:],
    ]
    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what inspect looks for
    return command


def user_of(user: str, password: str, *, ask: Callable[[str], str]) -> User | None:
    """Returns the user that ``--user NAME[:PASSWORD]`` and ``--password`` name; None where neither is given.

    Without a password ``ask`` is called with the user's name. Raises UsageError.
    """
    if not user:
        if password:
            raise UsageError("--password is given, and no --user", hint="RSTORE_PASSWORD and RSTORE_USER are the same")
        return None
    name, colon, given = (user, "", "") if password else user.partition(":")
    if not name:
        raise UsageError("--user names no user", hint="--user NAME:PASSWORD, or --user NAME and RSTORE_PASSWORD")
    if password or colon:
        return User(name, password or given)
    return User(name, ask(name))


def _ask(name: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError(f"the password of user {name} is required", hint="RSTORE_PASSWORD, or --user NAME:PASSWORD")
    return str(typer.prompt(f"Password of user {name}", hide_input=True, err=True))
