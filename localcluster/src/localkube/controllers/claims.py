"""Claims and volumes: each claim is bound at once to a volume of its own, a directory the runner keeps."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localkube.apiserver.errors import ApiError
from localkube.apiserver.schema.quantity import parse
from localkube.controllers.engine import Context, Controller
from localkube.controllers.informer import Change
from localkube.controllers.objects import Key, claims_of, is_deleting, key_of, meta, uid_of
from localkube.controllers.resources import PODS, PVCS, PVS, STORAGE_CLASSES, Obj

DEFAULT_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
PROVISIONER = "localkube/directory"
PROTECTION_FINALIZER = "kubernetes.io/pvc-protection"
DEFAULT_CLASS = "localkube"


@dataclass(frozen=True)
class NoClass:
    """Why there is no StorageClass to provision from."""

    why: str


class ClaimController(Controller):
    """Binds claims, protects those in use, and removes the volume of a deleted claim with its directory."""

    name = "persistentvolume-binder"

    def __init__(self, context: Context, volumes_dir: Path) -> None:
        super().__init__(context)
        self._volumes_dir = volumes_dir

    def setup(self) -> None:
        """Wake by claims, and by pods that use them."""
        self.watch_own(PVCS)
        self.context.informers.of(PVS).subscribe(self._on_volume)
        self.context.informers.of(STORAGE_CLASSES).subscribe(self._on_class)
        self.context.informers.of(PODS).subscribe(self._on_pod)

    def _on_class(self, _change: Change, _old: Obj | None, _class: Obj) -> None:
        for claim in self.context.informers.of(PVCS).items():
            if (claim.get("status") or {}).get("phase") != "Bound":
                self.enqueue(key_of(claim))

    def _on_volume(self, _change: Change, _old: Obj | None, volume: Obj) -> None:
        for claim in self.context.informers.of(PVCS).items():
            bound = (claim.get("status") or {}).get("phase") == "Bound"
            if not bound and claim["spec"].get("volumeName") == meta(volume)["name"]:
                self.enqueue(key_of(claim))

    def _on_pod(self, change: Change, _old: Obj | None, pod: Obj) -> None:
        if change == "deleted":
            for name in claims_of(pod):
                self.enqueue((meta(pod)["namespace"], name))

    async def reconcile(self, key: Key) -> float | None:
        """Carries out one step of one claim."""
        claim = self.context.informers.of(PVCS).copy_of(*key)
        if claim is None:
            await self._remove_volumes(key)
            return None
        if is_deleting(claim):
            await self._release(claim)
            return None
        if PROTECTION_FINALIZER not in (meta(claim).get("finalizers") or []):
            meta(claim).setdefault("finalizers", []).append(PROTECTION_FINALIZER)
            claim = await self.api.update(PVCS, key[0], claim)
        if (claim.get("status") or {}).get("phase") != "Bound":
            await self._bind(claim)
        else:
            await self._grow(claim)
        return None

    async def _grow(self, claim: Obj) -> None:
        """A directory has any size: the volume and the claim's capacity follow what is asked for."""
        wanted = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
        capacity = (claim["status"].get("capacity") or {}).get("storage")
        if wanted is None or capacity is None or parse(wanted) <= parse(capacity):
            return
        volume = await self.api.get(PVS, None, claim["spec"]["volumeName"])
        if not provisioned_here(volume):
            return
        volume["spec"]["capacity"] = {**volume["spec"].get("capacity", {}), "storage": wanted}
        await self.api.update(PVS, None, volume)
        claim["status"]["capacity"] = {**claim["status"]["capacity"], "storage": wanted}
        await self.api.update_status(PVCS, meta(claim)["namespace"], claim)
        text = "MountVolume.NodeExpandVolume succeeded"
        self.context.recorder.event(claim, "Normal", "FileSystemResizeSuccessful", text, component=self.name)

    async def _bind(self, claim: Obj) -> None:
        namespace = meta(claim)["namespace"]
        if claim["spec"].get("volumeName") not in (None, "", volume_name(claim)):
            await self._bind_to(claim, claim["spec"]["volumeName"])
            return
        classes = self.context.informers.of(STORAGE_CLASSES).items()
        chosen = choose_class(claim, classes)
        why = unsupported(claim) or (chosen.why if isinstance(chosen, NoClass) else None)
        if why is not None:
            claim["status"] = {"phase": "Pending"}
            await self.api.update_status(PVCS, namespace, claim)
            self.context.recorder.event(claim, "Warning", "ProvisioningFailed", why, component=self.name)
            return
        volume = build_volume(claim, self._volumes_dir, str(chosen))
        try:
            await self.api.create(PVS, None, volume)
        except ApiError as error:
            if not error.already_exists:
                raise
        if claim["spec"].get("volumeName") != volume["metadata"]["name"]:
            claim["spec"]["storageClassName"] = volume["spec"]["storageClassName"]
            claim["spec"]["volumeName"] = volume["metadata"]["name"]
            annotations = meta(claim).setdefault("annotations", {})
            annotations["pv.kubernetes.io/bind-completed"] = "yes"
            annotations["volume.kubernetes.io/storage-provisioner"] = PROVISIONER
            claim = await self.api.update(PVCS, namespace, claim)
        claim["status"] = {
            "phase": "Bound",
            "accessModes": claim["spec"].get("accessModes") or [],
            "capacity": copy.deepcopy((claim["spec"].get("resources") or {}).get("requests") or {}),
        }
        await self.api.update_status(PVCS, namespace, claim)
        bound = await self.api.get(PVS, None, volume["metadata"]["name"])
        bound["status"] = {"phase": "Bound"}
        await self.api.update_status(PVS, None, bound)
        self.context.recorder.event(
            claim,
            "Normal",
            "ProvisioningSucceeded",
            f"Successfully provisioned volume {volume['metadata']['name']}",
            component=self.name,
        )

    async def _bind_to(self, claim: Obj, name: str) -> None:
        """Bind a claim to the volume that it names, once that is there and nobody else's."""
        volume = self.context.informers.of(PVS).copy_of("", name)
        if volume is None:
            return
        reference = claim_reference(claim)
        if not same_claim(volume["spec"].get("claimRef") or reference, reference):
            text = f'volume "{name}" already bound to a different claim.'
            self.context.recorder.event(claim, "Warning", "FailedBinding", text, component=self.name)
            return
        if volume["spec"].get("claimRef") != reference:
            volume["spec"]["claimRef"] = reference
            volume = await self.api.update(PVS, None, volume)
        volume["status"] = {"phase": "Bound"}
        await self.api.update_status(PVS, None, volume)
        meta(claim).setdefault("annotations", {})["pv.kubernetes.io/bind-completed"] = "yes"
        claim = await self.api.update(PVCS, meta(claim)["namespace"], claim)
        claim["status"] = {
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes") or [],
            "capacity": copy.deepcopy(volume["spec"].get("capacity") or {}),
        }
        await self.api.update_status(PVCS, meta(claim)["namespace"], claim)

    async def _release(self, claim: Obj) -> None:
        namespace, name = key_of(claim)
        pods = self.context.informers.of(PODS).items(namespace)
        if any(name in claims_of(pod) for pod in pods if pod["spec"].get("nodeName")):
            return  # a pod that has no node yet gets none with a claim that is being deleted
        finalizers = meta(claim).get("finalizers") or []
        if PROTECTION_FINALIZER in finalizers:
            meta(claim)["finalizers"] = [f for f in finalizers if f != PROTECTION_FINALIZER]
            try:
                await self.api.update(PVCS, namespace, claim)
            except ApiError as error:
                if not error.not_found:
                    raise

    async def _remove_volumes(self, key: Key) -> None:
        """Volumes of a claim that is gone: reclaim policy Delete removes them; the runner removes the directory."""
        for volume in self.context.informers.of(PVS).items():
            ref = volume["spec"].get("claimRef") or {}
            if (ref.get("namespace"), ref.get("name")) != key:
                continue
            if volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
                await self._mark_released(volume)
                continue
            try:
                await self.api.delete(PVS, None, meta(volume)["name"], uid=uid_of(volume))
            except ApiError as error:
                if not error.not_found:
                    raise

    async def _mark_released(self, volume: Obj) -> None:
        """Marks a volume that is kept as released, since its claim is gone."""
        if (volume.get("status") or {}).get("phase") == "Released":
            return
        released = copy.deepcopy(volume)
        released["status"] = {"phase": "Released"}
        try:
            await self.api.update_status(PVS, None, released)
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise


def volume_name(claim: Obj) -> str:
    """Returns the name of the volume that is made for a claim."""
    return f"pvc-{uid_of(claim)}"


def claim_reference(claim: Obj) -> Obj:
    """Returns how a volume names the claim that it is bound to."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta(claim)["namespace"],
        "name": meta(claim)["name"],
        "uid": uid_of(claim),
    }


def same_claim(one: Obj, other: Obj) -> bool:
    """Returns whether a reference names the claim of another; one without a uid was made by hand, for any of its
    name."""
    names = [(ref.get("namespace"), ref.get("name")) for ref in (one, other)]
    return names[0] == names[1] and (not one.get("uid") or one["uid"] == other["uid"])


def provisioned_here(volume: Obj) -> bool:
    """Returns whether the local cluster made a volume, so that it can make it larger."""
    return (meta(volume).get("annotations") or {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER


def choose_class(claim: Obj, classes: Sequence[Obj]) -> str | NoClass:
    """Returns the name of the StorageClass that a claim is provisioned from: the one it names, else the default one."""
    name = claim["spec"].get("storageClassName")
    if name == "":
        return NoClass("no persistent volumes available for this claim and no storage class is set")
    if name is None:
        marked = [c for c in classes if (meta(c).get("annotations") or {}).get(DEFAULT_ANNOTATION) == "true"]
        if not marked:
            return NoClass("no storage class is set and none is the default")
        chosen = max(marked, key=lambda c: meta(c).get("creationTimestamp", ""))
    else:
        named = [c for c in classes if meta(c)["name"] == name]
        if not named:
            return NoClass(f'storageclass.storage.k8s.io "{name}" not found')
        chosen = named[0]
    if chosen["provisioner"] != PROVISIONER:
        return NoClass(
            f'provisioner "{chosen["provisioner"]}" does not exist here; the local cluster has {PROVISIONER}'
        )
    return str(meta(chosen)["name"])


def unsupported(claim: Obj) -> str | None:
    """Returns why a claim cannot be provisioned here, None when it can."""
    if claim["spec"].get("volumeMode", "Filesystem") != "Filesystem":
        return "only volumeMode Filesystem is supported by the local cluster"
    if claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef"):
        return "volumes from a data source are not supported by the local cluster"
    return None


def build_volume(claim: Obj, volumes_dir: Path, storage_class: str) -> Obj:
    """Returns the volume made for a claim; its directory is named by the claim's uid."""
    name = volume_name(claim)
    spec = claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": copy.deepcopy((spec.get("resources") or {}).get("requests") or {}),
            "accessModes": spec.get("accessModes") or [],
            "claimRef": claim_reference(claim),
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": storage_class,
            "volumeMode": "Filesystem",
            "hostPath": {"path": str(volumes_dir / name)},
        },
    }


async def ensure_default_class(context: Context) -> None:
    """Create the default StorageClass when there is none of its name."""
    storage_class: Obj = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": DEFAULT_CLASS, "annotations": {DEFAULT_ANNOTATION: "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
    }
    try:
        await context.api.create(STORAGE_CLASSES, None, storage_class)
    except ApiError as error:
        if not error.already_exists:
            raise
