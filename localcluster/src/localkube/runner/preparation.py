"""A container's spec, its pod's volumes and this machine: the command to execute."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from localkube.controllers.engine import Context
from localkube.controllers.objects import meta
from localkube.controllers.resources import CONFIG_MAPS, PVCS, PVS, SECRETS, Obj
from localkube.runner import environment, images
from localkube.runner.access import Outlook
from localkube.runner.backoff import RestartPolicy
from localkube.runner.container import ImageError, Prepared
from localkube.runner.paths import MountTable
from localkube.runner.process import Command
from localkube.runner.volumes import SERVICE_ACCOUNT_PATH, MountError, PodVolumes

PODENV = Path(__file__).parent / "podenv"
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Host:
    """What all pods of a runner share."""

    context: Context
    directory: Path
    images: Mapping[str, Sequence[str]]
    outlook: Callable[[Obj], Outlook]
    """What a pod sees of names and of the API server."""
    host_ip: str
    address_variables: tuple[str, ...]
    """Environment variables that give a program the address it is to listen at, instead of all."""
    restarts: RestartPolicy
    session: aiohttp.ClientSession

    def lookup(self, namespace: str) -> environment.Lookup:
        """ConfigMaps and Secrets of a namespace, by kind and name."""

        def find(kind: str, name: str) -> Obj | None:
            resource = CONFIG_MAPS if kind == "ConfigMap" else SECRETS
            return self.context.informers.of(resource).get(namespace, name)

        return find

    def claim_directory(self, namespace: str, name: str) -> Path:
        """Returns the directory of a claim's volume; raises MountError while it has none."""
        claim = self.context.informers.of(PVCS).get(namespace, name)
        if claim is None:
            raise MountError(f'persistentvolumeclaim "{name}" not found')
        volume = self.context.informers.of(PVS).get("", claim["spec"].get("volumeName") or "")
        if (claim.get("status") or {}).get("phase") != "Bound" or volume is None:
            raise MountError(f'persistentvolumeclaim "{name}" is not bound')
        if "hostPath" not in volume["spec"]:
            raise MountError(f'volume "{meta(volume)["name"]}" is not a directory of the local cluster')
        return Path(volume["spec"]["hostPath"]["path"])


def prepare(host: Host, pod: Obj, container: Obj, volumes: PodVolumes, directory: Path, address: str) -> Prepared:
    """Resolve image, arguments and environment; raises ImageError, ConfigError, MountError."""
    table = MountTable(volumes.table(container))
    status = {"podIP": address, "hostIP": host.host_ip}
    asked = environment.build(container, pod, status, host.lookup(meta(pod)["namespace"]))
    own_directory = directory / "containers" / str(container["name"])
    own_directory.mkdir(parents=True, exist_ok=True)
    env = _base_environment(host, pod, own_directory, table, address)
    env.update({name: table.rewrite(value) for name, value in asked.items()})
    # Written values are expanded before paths are rewritten, so that a variable may hold a mount path. The program that
    # the image stands for is of this machine: its path stays, even when it begins like a mount path.
    variables = {**env, **asked}

    def inside(values: Sequence[str]) -> list[str]:
        return [table.rewrite(value) for value in environment.expand_all(values, variables)]

    argv = images.arguments(
        container.get("image", ""),
        inside(container.get("command") or []),
        inside(container.get("args") or []),
        host.images,
    )
    if argv is None:
        names = ", ".join(sorted(host.images))
        name = images.base_name(container.get("image", ""))
        raise ImageError(f"the local cluster runs programs of this machine: none is known as {name!r} (known: {names})")
    wanted = table.host_path(container.get("workingDir") or "")
    cwd = wanted if wanted is not None and wanted.is_dir() else own_directory

    def in_container(arguments: list[str]) -> Command:
        first, *rest = arguments
        program = sys.executable if first in images.INTERPRETERS else table.rewrite(first)
        return Command((program, *(table.rewrite(value) for value in rest)), env, cwd)

    return Prepared(Command(argv, env, cwd), in_container)


def _base_environment(host: Host, pod: Obj, own_directory: Path, table: MountTable, address: str) -> dict[str, str]:
    temporary = table.host_path("/tmp")
    base = {name: os.environ[name] for name in INHERITED if name in os.environ}
    base.update(
        HOME=str(own_directory),
        HOSTNAME=pod["spec"].get("hostname") or meta(pod)["name"],
        TMPDIR=str(temporary or own_directory),
        PYTHONPATH=str(PODENV),
        PYTHONUNBUFFERED="1",
        LOCALKUBE_DNS_FILE=str(host.outlook(pod).dns_file),
        LOCALKUBE_NAMESPACE=meta(pod)["namespace"],
        LOCALKUBE_POD_IP=address,
    )
    base.update(dict.fromkeys(host.address_variables, address))
    kubeconfig = table.host_path(f"{SERVICE_ACCOUNT_PATH}/kubeconfig")
    if kubeconfig is not None:
        base["KUBECONFIG"] = str(kubeconfig)
    return base
