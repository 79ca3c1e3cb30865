"""Makes commands of coroutines: gives them a cluster, and the options that name it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, get_type_hints

from rstore_cli.cluster import Cluster, Target
from rstore_cli.options import ContextOption, KubeconfigOption, NamespaceOption

_TARGET = {"namespace": NamespaceOption, "kubeconfig": KubeconfigOption, "context": ContextOption}


def on_cluster(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Returns a command for Typer, which has the options that name a cluster in the place of the first parameter.

    The coroutine gets that :class:`Cluster`, whose connections are closed when it ends.
    """

    @wraps(function)
    def command(*, namespace: str | None, kubeconfig: Path | None, context: str | None, **arguments: Any) -> None:
        async def run() -> None:
            cluster = Cluster(Target(kubeconfig, context, namespace))
            try:
                await function(cluster, **arguments)
            finally:
                await cluster.close()

        asyncio.run(run())

    hints = get_type_hints(function, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    parameters = [one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _TARGET.items()
    ]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what inspect looks for
    del command.__wrapped__  # else its types would be taken for the command's
    return command
