"""``rstore report``: all that a bug report about a store needs, in one file, and no secret."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from rstore_cli.cluster import Cluster, Object
from rstore_cli.commands import on_cluster
from rstore_cli.errors import CliError
from rstore_cli.options import Output, OutputOption, StoreName
from rstore_cli.output import emit, size

LOG_LINES = 5000
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@on_cluster
async def report(
    cluster: Cluster,
    name: StoreName,
    out: Annotated[Path, typer.Option("--out", help="The zip file to write.")] = Path("rstore-report.zip"),
    lines: Annotated[int, typer.Option("--log-lines", min=0, help="Lines of each log.")] = LOG_LINES,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write a zip file with what a bug report about a store needs: its object and events, the objects that it is made
    of, and the logs of its replicas and of the operator.

    Of Secrets there are names, types and the names of their keys, and no contents. What cannot be read is listed in
    missing.txt.
    """
    files = await collect(cluster, name, lines)
    try:
        out.write_bytes(as_zip(files))
    except OSError as error:
        raise CliError(f"cannot write {out}: {error.strerror}", hint="choose another file with --out") from error
    written = out.stat().st_size
    text = f"wrote {out} ({len(files)} files, {size(written)}); look through it before you hand it on"
    emit({"file": str(out), "files": sorted(files), "bytes": written}, output, lambda console: console.print(text))


async def collect(cluster: Cluster, name: str, lines: int) -> dict[str, str]:
    """Returns the files of a report by their names. What cannot be read is in ``missing.txt``."""
    store = await cluster.store(name)
    files = {"store.yaml": as_yaml(store), "versions.txt": f"rstore {version('replicated-store')}\n"}
    missing: list[str] = []

    async def add(path: str, request: Any, text: Callable[[Any], str]) -> Any:
        try:
            answer = await request
        except CliError as error:
            missing.append(f"{path}: {error.message}")
            return None
        files[path] = text(answer)
        return answer

    await add("events.yaml", cluster.events(name, store["metadata"].get("uid", "")), as_yaml)
    for kind in cluster.kinds_of_a_store():
        text = _secrets_as_yaml if kind == "Secret" else as_yaml
        await add(f"objects/{kind}.yaml", cluster.objects_of(name, kind), text)
    for pod in await cluster.pod_names(name):
        for previous in (False, True):
            path = f"logs/{pod}{'.previous' if previous else ''}.log"
            await add(path, cluster.log_text(pod, lines, previous=previous), str)
    operators = await add("operator/pods.yaml", cluster.operator_pods(), as_yaml) or []
    for pod in operators:
        place, pod_name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        await add(f"operator/{pod_name}.log", cluster.log_text(pod_name, lines, namespace=place), str)
    if missing:
        files["missing.txt"] = "\n".join(missing) + "\n"
    return files


def without_contents(secrets: list[Object]) -> list[Object]:
    """Returns Secrets with the names of their keys and the sizes of their values, and nothing else that tells them."""
    return [
        {
            "metadata": {
                key: value
                for key, value in secret["metadata"].items()
                if key in ("name", "namespace", "labels", "creationTimestamp", "ownerReferences", "resourceVersion")
            },
            "type": secret.get("type", ""),
            "bytesOfBase64": {key: len(value) for key, value in (secret.get("data") or {}).items()},
        }
        for secret in secrets
    ]


def _secrets_as_yaml(secrets: list[Object]) -> str:
    return as_yaml(without_contents(secrets))


def as_yaml(value: Any) -> str:
    """Returns a document without what only the API server needs, and without copies that kubectl keeps."""
    return yaml.safe_dump(_plain(json.loads(json.dumps(value))), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in ("managedFields", LAST_APPLIED)}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def as_zip(files: dict[str, str]) -> bytes:
    """Returns the files as one archive."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in sorted(files.items()):
            archive.writestr(f"rstore-report/{path}", text)
    return content.getvalue()
