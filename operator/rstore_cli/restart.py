"""``rstore restart``: restarts all replicas of a store, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime

from rstore_api.domain.kubernetes import PAUSED, RESTARTED_AT

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit


@on_cluster
async def restart(cluster: Cluster, name: StoreName, output: OutputOption = Output.TABLE) -> None:
    """Restart all replicas, one after the other, as a change of their pods would.

    The command returns when it has asked; `rstore status NAME -w` shows how it goes.
    """
    store = await cluster.store(name)
    if (store["metadata"].get("annotations") or {}).get(PAUSED) == "true":
        raise CliError(
            f'store "{name}" is paused: nothing is restarted', hint=f"`rstore maintenance unset {name}` ends that"
        )
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    await cluster.annotate(name, {RESTARTED_AT: now})
    text = f"asked to restart all replicas; `rstore status {name} -w` shows how it goes"
    emit({"restartedAt": now}, output, lambda console: console.print(text))
