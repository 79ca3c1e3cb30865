"""Which StorageClass a claim is provisioned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localkube.controllers.objects import meta
from localkube.controllers.resources import Obj

DEFAULT_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
PROVISIONER = "localkube/directory"


@dataclass(frozen=True)
class NoClass:
    """Why there is no StorageClass to provision from."""

    why: str


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
