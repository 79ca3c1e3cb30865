"""``rstore dev``: the local cluster of plain processes, for a laptop and for tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from localkube.daemon import DaemonError, DaemonState, read_state, start, stop
from localkube.links.control import FaultError, LinkFaults
from localkube.startup import STALLED_SECONDS, TOTAL_SECONDS
from rich.console import Console
from rstore_api.domain.kubernetes import CHILD_KINDS, CLI_FIELD_MANAGER, NODE, POD
from rstore_kube.errors import ApiError

from rstore_cli.cluster import REQUEST_TIMEOUT_SECONDS, Object
from rstore_cli.dev import fault
from rstore_cli.dev.place import DataDirOption, NameOption, directory_of, running
from rstore_cli.errors import CliError, UsageError
from rstore_cli.helm import Helm, ToolError
from rstore_cli.options import Output, OutputOption
from rstore_cli.output import emit, stderr, stdout, table

app = typer.Typer(no_args_is_help=True)
app.add_typer(fault.app, name="fault")

CHART = Path("charts/replicated-store-operator")
RELEASE, RELEASE_NAMESPACE = "rstore", "rstore-system"
IMAGES = {
    "replicated-store-replica": (sys.executable, "-m", "rstore_replica"),
    "replicated-store-operator": (sys.executable, "-m", "rstore_operator"),
}
"""The commands that the local cluster runs in the place of our images."""
ADDRESS_VARIABLES = ("RSTORE_LISTEN_HOST",)
PLACES = {"operator": "app.kubernetes.io/component=operator"}
"""The operator's links can be broken apart from those of the region that it runs in."""


@app.command("up")
def up(
    name: NameOption = "default",
    data_dir: DataDirOption = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            "--node",
            metavar="NAME=REGION",
            help="A node and its region; may be repeated. Default: one each in us-east, eu-west and ap-south.",
            show_default=False,
        ),
    ] = None,
    faults: Annotated[
        bool,
        typer.Option("--faults", help="Put relays between regions, operator and API server: see `rstore dev fault`."),
    ] = False,
    end_with: Annotated[
        int | None,
        typer.Option(
            "--end-with", metavar="PID", help="End it when this process has ended. Default: it runs until `down`."
        ),
    ] = None,
    wait_seconds: Annotated[
        float,
        typer.Option(
            "--wait",
            min=1,
            help=f"Seconds to wait until it is ready, but only {STALLED_SECONDS:g} without progress.",
        ),
    ] = TOTAL_SECONDS,
) -> None:
    """Start the local cluster in the background, wait until it is ready, and print what to do next."""
    for item in node or []:
        name_of_node, _, region = item.partition("=")
        if not name_of_node or not region:
            raise UsageError(f"--node takes NAME=REGION, not {item!r}")
    directory = directory_of(name, data_dir)
    already = read_state(directory) is not None
    if already and faults:
        try:
            LinkFaults(directory).faults()
        except FaultError as error:
            raise CliError(
                f"the local cluster {name!r} is running already", hint=f"{error}; {fault.RESTART}; its data stays"
            ) from error
    try:
        state = start(
            directory,
            wait_seconds=wait_seconds,
            end_with=end_with,
            nodes=node or [],
            images=IMAGES,
            address_variables=ADDRESS_VARIABLES,
            faults=faults,
            places=PLACES,
        )
    except DaemonError as error:
        raise CliError(str(error), hint="the log above says why") from error
    console = stdout()
    console.print(f"local cluster {name!r} {'was running already' if already else 'is running'} (pid {state.pid})")
    tools = Path(sys.executable).parent
    add_path = (tools / "kubectl").exists() and str(tools) not in os.environ.get("PATH", "").split(os.pathsep)
    for line in (
        f"  API server   {state.url}",
        f"  data         {directory}",
        "",
        "next:",
        *([f"  export PATH={tools}:$PATH   # rstore, kubectl and etcdctl"] if add_path else []),
        f"  export KUBECONFIG={state.kubeconfig}",
        "  rstore dev install   # the operator: does what `helm install` does, without helm",
        "  kubectl apply -f examples/three-regions.yaml",
        "  rstore status orders -w",
    ):
        console.print(line)


@app.command("install")
def install(
    chart: Annotated[Path, typer.Option("--chart", help="The operator's chart.")] = CHART,
    name: NameOption = "default",
    data_dir: DataDirOption = None,
) -> None:
    """Install the operator into the local cluster, as `helm install` does; helm itself need not be there."""
    kubeconfig = Path(running(name, data_dir).kubeconfig)
    if not (chart / "Chart.yaml").is_file():
        raise CliError(f"there is no chart in {chart}", hint="run it in a checkout, or name the chart by --chart")
    try:
        Helm(kubeconfig, RELEASE, RELEASE_NAMESPACE).install(chart.absolute(), {})
    except ToolError as error:
        raise CliError(
            str(error), hint=f"`kubectl get deployment -n {RELEASE_NAMESPACE}` shows one that is there"
        ) from error
    stdout().print(f"the operator is installed in namespace {RELEASE_NAMESPACE}")


@app.command("down")
def down(
    name: NameOption = "default",
    data_dir: DataDirOption = None,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Also delete its data directory.")] = False,
) -> None:
    """Stop the local cluster and everything that runs in it. Its data stays, unless --delete-data is given."""
    directory = directory_of(name, data_dir)
    try:
        stopped = stop(directory)
    except DaemonError as error:
        raise CliError(str(error)) from error
    stderr().print(f"local cluster {name!r} {'stopped' if stopped else 'was not running'}")
    if delete_data and directory.exists():
        shutil.rmtree(directory)


@app.command("kubeconfig")
def kubeconfig(name: NameOption = "default", data_dir: DataDirOption = None) -> None:
    """Print the path of the local cluster's kubeconfig."""
    print(running(name, data_dir).kubeconfig)


@app.command("status")
def status(name: NameOption = "default", data_dir: DataDirOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show nodes, pods and services of the local cluster with their addresses."""
    state = running(name, data_dir)
    try:
        data = asyncio.run(_collect(state))
    except (ApiError, OSError, TimeoutError) as error:
        raise CliError(f"the local cluster does not answer: {error}", hint="`rstore dev down`, then `up`") from error
    emit(data, output, lambda console: _render(console, name, data))


async def _collect(state: DaemonState) -> dict[str, Any]:
    from rstore_kube.access import from_kubeconfig  # takes long to import
    from rstore_kube.client import KubeClient

    access = await from_kubeconfig(state.kubeconfig)
    client = KubeClient(access, field_manager=CLI_FIELD_MANAGER, timeout_seconds=REQUEST_TIMEOUT_SECONDS)
    try:
        nodes, pods, services = [await client.list(kind, "") for kind in (NODE, POD, CHILD_KINDS["Service"])]
    finally:
        await client.close()
    return {
        "url": state.url,
        "pid": state.pid,
        "kubeconfig": state.kubeconfig,
        "nodes": [_node(node) for node in nodes],
        "pods": [_pod(pod) for pod in pods],
        "services": [_service(service) for service in services],
    }


def _node(node: Object) -> dict[str, Any]:
    labels = node["metadata"].get("labels") or {}
    return {"name": node["metadata"]["name"], "region": labels.get("topology.kubernetes.io/region", "")}


def _pod(pod: Object) -> dict[str, Any]:
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    return {
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"]["name"],
        "node": pod["spec"].get("nodeName", ""),
        "address": status.get("podIP", ""),
        "phase": status.get("phase", "Pending"),
        "ready": bool(containers) and all(c.get("ready") for c in containers),
        "restarts": sum(int(c.get("restartCount", 0)) for c in containers),
    }


def _service(service: Object) -> dict[str, Any]:
    return {
        "namespace": service["metadata"]["namespace"],
        "name": service["metadata"]["name"],
        "clusterIP": service["spec"].get("clusterIP", ""),
        "ports": [int(p["port"]) for p in service["spec"].get("ports") or []],
    }


def _render(console: Console, name: str, data: dict[str, Any]) -> None:
    console.print(f"local cluster {name!r} at {data['url']} (pid {data['pid']})\n")
    console.print(table(("NODE", "REGION"), [(n["name"], n["region"]) for n in data["nodes"]]))
    console.print()
    pods = [
        (p["namespace"], p["name"], p["node"], p["address"], p["phase"], str(p["ready"]), str(p["restarts"]))
        for p in data["pods"]
    ]
    console.print(table(("NAMESPACE", "POD", "NODE", "ADDRESS", "PHASE", "READY", "RESTARTS"), pods))
    console.print()
    services = [(s["namespace"], s["name"], s["clusterIP"], ",".join(map(str, s["ports"]))) for s in data["services"]]
    console.print(table(("NAMESPACE", "SERVICE", "CLUSTER-IP", "PORTS"), services))
