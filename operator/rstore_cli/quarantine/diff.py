"""``rstore quarantine diff``: each key of a tail beside its present value."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from rich.console import Console

from rstore_cli.cluster import Cluster, Target
from rstore_cli.connect import open_store
from rstore_cli.options import (
    ContextOption,
    EndpointOption,
    KubeconfigOption,
    NamespaceOption,
    Output,
    OutputOption,
    StoreName,
    TimeoutOption,
)
from rstore_cli.output import emit, table, text_field
from rstore_cli.quarantine.access import Access
from rstore_cli.quarantine.changes import Selection
from rstore_cli.quarantine.compare import Compared, for_each_key, last_changes
from rstore_cli.quarantine.options import KeysOption, PrefixesOption, TailName

VALUE_BYTES = 40
"""Of a value in the table; all of it is in the other formats."""


def diff(
    name: StoreName,
    tail: TailName,
    key: KeysOption = None,
    prefix: PrefixesOption = None,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    timeout: TimeoutOption = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare what a tail last did to each key with what the store has now.

    same: the store has it. unchanged: nobody has written the key since. absent: the store has no such key.
    changed, deleted: somebody has written or deleted it since, and replay leaves it alone.
    """
    cluster = Cluster.connect(Target(kubeconfig, context, namespace))
    access = Access.to(cluster, name)
    selection = Selection.of(key, prefix)

    async def compare() -> list[Compared]:
        found = await access.find(tail)
        changes = await last_changes(access, found, selection, timeout_seconds=timeout)
        async with open_store(cluster, name, region=None, endpoints=endpoint) as client:
            return [
                one async for one in for_each_key(access, client, found, changes, _as_it_is, timeout_seconds=timeout)
            ]

    compared = asyncio.run(compare())
    counts = Counter(one.verdict.value for one in compared)
    data = {"counts": dict(sorted(counts.items())), "keys": [compared_data(one) for one in compared]}
    emit(data, output, lambda console: _print(console, compared, counts))


async def _as_it_is(compared: Compared) -> Compared:
    return compared


def compared_data(compared: Compared) -> dict[str, Any]:
    """PURE: one key as plain data."""
    tail: dict[str, Any] = {"revision": compared.change.revision, "rows": compared.change.rows}
    tail |= {"deleted": True} if compared.change.deletion else text_field("value", compared.value)
    present = None
    if compared.present is not None:
        present = {"revision": compared.present.mod_revision, **text_field("value", compared.present.value)}
    return {**text_field("key", compared.key), "verdict": compared.verdict.value, "tail": tail, "present": present}


def _print(console: Console, compared: list[Compared], counts: Counter[str]) -> None:
    rows = [
        (
            shown(one.key),
            one.verdict.value,
            str(one.change.revision),
            "(deleted)" if one.change.deletion else shown(one.value),
            "-" if one.present is None else str(one.present.mod_revision),
            "(none)" if one.present is None else shown(one.present.value),
        )
        for one in compared
    ]
    console.print(table(("KEY", "VERDICT", "REVISION", "IN THE TAIL", "PRESENT REVISION", "PRESENT"), rows))
    console.print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "no such keys")


def shown(content: bytes) -> str:
    """PURE: a key or a value for the table, cut when it is long."""
    text = content.decode(errors="backslashreplace")
    return text if len(text) <= VALUE_BYTES else f"{text[: VALUE_BYTES - 1]}…"
