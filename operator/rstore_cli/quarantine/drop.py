"""``rstore quarantine drop``: removes a tail from every replica of its region, for good."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rstore_api.errors import NoLeader, NotLeader, StoreError, Unreachable
from rstore_api.methods import QUARANTINE_DROP
from rstore_api.proto.rstore_pb2 import QuarantineDropRequest

from rstore_cli.cluster import Cluster
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit
from rstore_cli.quarantine.access import Access
from rstore_cli.quarantine.tails import Holding, RegionTail, is_called, tails_of


@on_cluster
async def drop(
    cluster: Cluster,
    name: StoreName,
    tails: Annotated[list[str], typer.Argument(metavar="TAIL...", help="As `rstore quarantine list` shows them.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; nothing brings them back.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete tails from quarantine, on every replica, for good. One that is gone already is no error."""
    access = await Access.to(cluster, name)
    store_id = str((await cluster.store(name)).get("status", {}).get("storeId", ""))
    results = await _drop_all(access, store_id, tails, really=yes)

    def render(console: Console) -> None:
        for one in results:
            console.print(f"{one['name']}: {one['result']}")

    emit({"tails": results}, output, render)


async def _drop_all(access: Access, store_id: str, wanted: list[str], *, really: bool) -> list[dict[str, Any]]:
    holdings = await access.holdings()
    chosen = {name: [tail for tail in tails_of(holdings) if is_called(tail, name)] for name in wanted}
    for name, matches in chosen.items():
        if len(matches) > 1:
            named = ", ".join(tail.name for tail in matches)
            raise CliError(f"{name} is in {len(matches)} regions: {named}", hint="name it with its region")
        if not matches and any(holding.problem for holding in holdings):
            raise CliError(
                f"no replica that answered has {name}, and not every replica answered",
                hint=f"`rstore quarantine list {access.store}` shows which did not; try again when they do",
            )
    lost = [tail for matches in chosen.values() for tail in matches]
    if lost and not really:
        rows = sum(tail.record.count for tail in lost)
        raise UsageError(
            f"this deletes {len(lost)} tails with {rows} rows that exist nowhere else",
            hint="look at them with `rstore quarantine diff`, then repeat the command with --yes",
        )
    results = []
    for name, matches in chosen.items():
        if matches:
            await _drop(access, store_id, matches[0], holdings)
        results.append({"name": matches[0].name if matches else name, "result": "dropped" if matches else "not there"})
    return results


async def _drop(access: Access, store_id: str, tail: RegionTail, holdings: list[Holding]) -> None:
    """Ask the region's leader, or the other replicas if that is another by now."""
    last: StoreError | CliError = NoLeader(f"no replica of {tail.region} answers")
    region = [holding for holding in holdings if holding.region == tail.region and not holding.problem]
    for holding in sorted(region, key=lambda holding: not holding.leader):
        try:
            async with access.open(holding.replica) as replica:
                request = QuarantineDropRequest(store_id=store_id, file=tail.file)
                await replica.call(QUARANTINE_DROP, request, timeout_seconds=10.0)
                return
        except (NotLeader, NoLeader, Unreachable, CliError) as error:
            last = error
    raise CliError(
        f"{tail.name} was not dropped: {last}",
        hint=f"only the leader of {tail.region} can; `rstore status {access.store}` shows whether there is one",
    )
