"""Volumes of a pod as directories: made when the pod starts, and kept current when what they show changes."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localkube.controllers.objects import meta
from localkube.controllers.resources import Obj
from localkube.runner.environment import ConfigError, Lookup, decode, field_value, keys
from localkube.runner.supported import unsupported_volume

SERVICE_ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


class MountError(Exception):
    """A volume cannot be mounted (yet); the message is what the FailedMount event says."""


@dataclass(frozen=True)
class File:
    """A file to show in a volume."""

    content: bytes
    mode: int


Payload = dict[str, File]
"""Relative path → file."""


@dataclass(frozen=True)
class VolumeSources:
    """Where a pod's volumes take their contents from."""

    lookup: Lookup
    """ConfigMaps and Secrets of the pod's namespace."""
    claim_directory: Callable[[str], Path]
    """By claim name; raises MountError while the claim is not bound."""
    token: Mapping[str, bytes]
    """The files of the service account mount; empty when the pod has none."""
    status: Mapping[str, Any]
    """podIP and hostIP."""


def payload_of(source: Obj, pod: Obj, sources: VolumeSources, default_mode: int = 0o644) -> Payload:
    """Returns the files that a configMap, secret, downwardAPI, serviceAccountToken or projected source shows."""
    result: Payload = {}
    if "projected" in source:
        mode = int(source["projected"].get("defaultMode", 0o644))
        for part in source["projected"].get("sources") or []:
            result.update(payload_of(part, pod, sources, mode))
        return result
    for field, kind, name_field in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        if field in source:
            wanted = source[field]
            name = wanted.get(name_field) or wanted.get("name")
            mode = int(wanted.get("defaultMode", default_mode))
            return _object_payload(sources.lookup(kind, name), kind, name, wanted, mode)
    if "downwardAPI" in source:
        for item in source["downwardAPI"].get("items") or []:
            if "fieldRef" not in item:
                raise MountError("downwardAPI resourceFieldRef is not supported by the local cluster")
            try:
                value = field_value(pod, item["fieldRef"]["fieldPath"], sources.status)
            except ConfigError as error:
                raise MountError(str(error)) from error
            result[item["path"]] = File(value.encode(), int(item.get("mode", default_mode)))
        return result
    if "serviceAccountToken" in source:
        token = sources.token.get("token")
        if token is None:
            raise MountError("no service account token for this pod")
        return {source["serviceAccountToken"]["path"]: File(token, default_mode)}
    raise MountError(f"unsupported source: {', '.join(source)}")


def _object_payload(obj: Obj | None, kind: str, name: str, wanted: Obj, mode: int) -> Payload:
    if obj is None:
        if wanted.get("optional"):
            return {}
        raise MountError(f'{kind.lower()} "{name}" not found')
    items = wanted.get("items")
    if not items:
        return {key: File(decode(obj, key) or b"", mode) for key in keys(obj)}
    result: Payload = {}
    for item in items:
        content = decode(obj, item["key"])
        if content is None:
            if wanted.get("optional"):
                continue
            raise MountError(f'references non-existent {kind.lower()} key: {item["key"]} in "{name}"')
        result[item["path"]] = File(content, int(item.get("mode", mode)))
    return result


def write_payload(directory: Path, payload: Payload) -> None:
    """Make `directory` show exactly the payload; a reader sees the old files or the new ones, never a mixture.

    The files are in a directory that a symbolic link `..data` points to, and each name is a link through it, as
    the kubelet does it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / f"..{uuid.uuid4().hex[:12]}"
    fresh.mkdir()
    for path, file in payload.items():
        target = fresh / path
        if fresh.resolve() not in target.resolve().parents:
            raise MountError(f"path {path!r} leaves the volume")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
    data = directory / "..data"
    previous = data.readlink() if data.is_symlink() else None
    pointer = directory / "..data_tmp"
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(fresh.name)
    pointer.replace(data)
    names = {Path(path).parts[0] for path in payload}
    for name in names:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(Path("..data") / name)
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    if previous is not None:
        shutil.rmtree(directory / previous, ignore_errors=True)


class PodVolumes:
    """The volumes of one pod under `directory`."""

    def __init__(self, pod: Obj, directory: Path, sources: VolumeSources) -> None:
        self._pod = pod
        self._directory = directory
        self._sources = sources
        self._shown: dict[str, Payload] = {}
        self._hosts: dict[str, Path] = {}

    def mount(self) -> None:
        """Make every volume; raises MountError for the first that cannot be, and may be called again."""
        for volume in self._pod["spec"].get("volumes") or []:
            self._hosts[volume["name"]] = self._mount_one(volume)
        if self._sources.token:
            files = {name: File(content, 0o600) for name, content in self._sources.token.items()}
            write_payload(self._directory / "serviceaccount", files)

    def refresh(self, pod: Obj) -> None:
        """Show present contents of what is shown from objects; what has gone missing stays as it was."""
        self._pod = pod
        for volume in pod["spec"].get("volumes") or []:
            if volume["name"] in self._shown:
                try:
                    self._mount_one(volume)
                except MountError:
                    continue

    def table(self, container: Obj) -> dict[str, Path]:
        """Mount path → directory (or file, with subPath) on this machine; raises MountError."""
        result: dict[str, Path] = {}
        for mount in container.get("volumeMounts") or []:
            host = self._hosts.get(mount["name"])
            if host is None:
                raise MountError(f"volume {mount['name']!r} of container {container['name']!r} does not exist")
            if mount.get("subPath"):
                inside = host / str(mount["subPath"])
                if ".." in Path(mount["subPath"]).parts or Path(mount["subPath"]).is_absolute():
                    raise MountError(f"subPath {mount['subPath']!r} must stay inside the volume")
                if mount["name"] not in self._shown:
                    inside.mkdir(parents=True, exist_ok=True)
                host = inside
            result[mount["mountPath"]] = host
        if self._sources.token:
            # In place of the volume with the pod's token: the same files, and a kubeconfig for this machine.
            result[SERVICE_ACCOUNT_PATH] = self._directory / "serviceaccount"
        return result

    def _mount_one(self, volume: Obj) -> Path:
        why = unsupported_volume(volume)
        if why is not None:
            raise MountError(why)
        directory = self._directory / "volumes" / str(volume["name"])
        if "persistentVolumeClaim" in volume:
            claimed = self._sources.claim_directory(volume["persistentVolumeClaim"]["claimName"])
            claimed.mkdir(parents=True, exist_ok=True)
            return claimed
        if "emptyDir" in volume or len(volume) == 1:
            directory.mkdir(parents=True, exist_ok=True)
            return directory
        self._show(volume["name"], directory, payload_of(volume, self._pod, self._sources))
        return directory

    def _show(self, name: str, directory: Path, payload: Payload) -> None:
        if self._shown.get(name) != payload:
            write_payload(directory, payload)
            self._shown[name] = payload


def references(pod: Obj) -> set[tuple[str, str, str]]:
    """: (kind, namespace, name) of every ConfigMap and Secret that the pod's volumes show."""
    namespace = meta(pod)["namespace"]
    result: set[tuple[str, str, str]] = set()

    def collect(source: Obj) -> None:
        if "configMap" in source:
            result.add(("ConfigMap", namespace, source["configMap"].get("name", "")))
        if "secret" in source:
            secret = source["secret"]
            result.add(("Secret", namespace, secret.get("secretName") or secret.get("name", "")))
        for part in (source.get("projected") or {}).get("sources") or []:
            collect(part)

    for volume in pod["spec"].get("volumes") or []:
        collect(volume)
    return result
