"""``rstore quarantine replay``: writes keys of a tail again, as new writes, where nobody has written since.

Each key is one transaction that writes only if the key still is what it was compared with. So a replay that is repeated
does nothing, and one that races with a client never undoes the client's write.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rstore_api.client import Client
from rstore_api.errors import StoreError
from rstore_api.proto import rpc_pb2

from rstore_cli.errors import CliError, UsageError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import emit, stderr, table, text_field
from rstore_cli.quarantine.access import Access
from rstore_cli.quarantine.changes import CONFLICTS, Selection, Verdict
from rstore_cli.quarantine.compare import Compared, for_each_key, last_changes
from rstore_cli.quarantine.diff import shown
from rstore_cli.quarantine.options import KeysOption, PrefixesOption, TailName
from rstore_cli.store_access import StoreAccess, on_store


class Result(StrEnum):
    """The result for one key."""

    PUT = "put"
    DELETED = "deleted"
    WOULD_PUT = "would put"
    WOULD_DELETE = "would delete"
    SAME = "same"  # nothing to do
    DELETION = "deletion"  # not asked for
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Replayed:
    """The result for a key: at which revision it was written, or why not."""

    key: bytes
    result: Result
    revision: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Rules:
    """What the options say."""

    overwrite: bool
    include_deletes: bool
    dry_run: bool


@on_store(timeout_seconds=30.0, has_region=False)
async def replay(
    store: StoreAccess,
    tail: TailName,
    key: KeysOption = None,
    prefix: PrefixesOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every key of the tail.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also keys that somebody has written or deleted since.")
    ] = False,
    include_deletes: Annotated[
        bool, typer.Option("--include-deletes", help="Delete keys that the tail deleted last.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; show what would be written.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put keys of a tail back into the store, with the last value that the tail has of them, as new writes.

    A key that was written or deleted since is left alone. May be repeated: what is there already is not written again.
    Exit code 1 when a key was left alone because of that, or could not be found.
    """
    if everything == bool(key or prefix):
        raise UsageError(
            "which keys?", hint=f"rstore quarantine replay {store.name} {tail} --key KEY, or --prefix PREFIX, or --all"
        )
    access = await Access.to(store.cluster, store.name)
    selection, rules = Selection.of(key, prefix), Rules(overwrite, include_deletes, dry_run)

    done: list[Replayed] = []

    async def work() -> list[bytes]:
        source = await access.find(tail)
        changes = await last_changes(access, source, selection, timeout_seconds=store.timeout_seconds)
        with Progress(console=stderr(), disable=not stderr().is_terminal, transient=True) as progress:
            bar = progress.add_task("replaying", total=len(changes))
            async with store.open() as client:

                async def act(compared: Compared) -> Replayed:
                    return await _replay(client, compared, rules, store.timeout_seconds)

                async for one in for_each_key(
                    access, client, source, changes, act, timeout_seconds=store.timeout_seconds
                ):
                    done.append(one)
                    progress.advance(bar)
        return selection.missing_from(changes)

    missing: list[bytes] = []
    failure: StoreError | CliError | None = None
    try:
        missing = await work()
    except (StoreError, CliError) as error:
        if not done:
            raise
        failure = error
    counts = Counter(one.result.value for one in done)
    data = {"counts": dict(sorted(counts.items())), "keys": [replayed_data(one) for one in done]}
    emit(data, output, lambda console: _print(console, done, counts))
    if failure is not None:
        raise CliError(f"it ended early: {failure}", hint="repeat it; what was written already is not written again")
    if missing:
        named = ", ".join(shown(one) for one in missing)
        raise CliError(f"not in the tail: {named}", hint=f"`rstore quarantine show {store.name} {tail}` lists its keys")
    if counts[Result.CONFLICT]:
        raise CliError(
            f"left alone, since they have been written meanwhile: {counts[Result.CONFLICT]} of {len(done)} keys",
            hint=f"`rstore quarantine diff {store.name} {tail}` shows both values; --overwrite takes the tail's",
        )


def decide(compared: Compared, rules: Rules) -> tuple[Result, rpc_pb2.TxnRequest | None]:
    """Returns the result for a key, and the transaction that writes it, None if nothing is written."""
    deletion = compared.change.deletion
    if compared.verdict is Verdict.SAME:
        return Result.SAME, None
    if deletion and not rules.include_deletes:
        return Result.DELETION, None
    if compared.verdict in CONFLICTS and not rules.overwrite:
        return Result.CONFLICT, None
    if rules.dry_run:
        return (Result.WOULD_DELETE if deletion else Result.WOULD_PUT), None
    unchanged = rpc_pb2.Compare(
        key=compared.key,
        target=rpc_pb2.Compare.MOD,
        result=rpc_pb2.Compare.EQUAL,
        mod_revision=compared.present.mod_revision if compared.present is not None else 0,
    )
    if deletion:
        operation = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=compared.key))
    else:
        operation = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=compared.key, value=compared.value))
    result = Result.DELETED if deletion else Result.PUT
    return result, rpc_pb2.TxnRequest(compare=[unchanged], success=[operation])


async def _replay(client: Client, compared: Compared, rules: Rules, timeout_seconds: float) -> Replayed:
    result, request = decide(compared, rules)
    if request is None:
        return Replayed(compared.key, result, reason=compared.verdict.value if result is Result.CONFLICT else "")
    answer = await client.txn(request, retry_unknown=True, timeout_seconds=timeout_seconds)
    if not answer.succeeded:
        return Replayed(compared.key, Result.CONFLICT, reason="written by another client at this moment")
    return Replayed(compared.key, result, int(answer.header.revision))


def replayed_data(replayed: Replayed) -> dict[str, Any]:
    """Returns one key as plain data."""
    data: dict[str, Any] = {**text_field("key", replayed.key), "result": replayed.result.value}
    if replayed.revision:
        data["revision"] = replayed.revision
    return {**data, "reason": replayed.reason} if replayed.reason else data


def _print(console: Console, done: list[Replayed], counts: Counter[str]) -> None:
    rows = [(shown(one.key), one.result.value, str(one.revision or "-"), one.reason) for one in done]
    console.print(table(("KEY", "RESULT", "REVISION", "REASON"), rows))
    console.print(", ".join(f"{count} {result}" for result, count in sorted(counts.items())) or "no such keys")
    if counts[Result.DELETION]:
        console.print("keys that the tail deleted last are deleted only with --include-deletes")
