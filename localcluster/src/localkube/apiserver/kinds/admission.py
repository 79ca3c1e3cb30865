"""What the API server's default admission plugins add to an object or refuse, looking at other objects."""

from __future__ import annotations

from localkube.apiserver.errors import forbidden
from localkube.apiserver.jsonobj import JsonObject, lookup
from localkube.apiserver.kinds import claims
from localkube.apiserver.kinds.pod_specs import containers_of
from localkube.apiserver.objects.metadata import generate_name
from localkube.apiserver.objects.store import Store

_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607
_CRITICAL = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class Admission:
    """The plugins ServiceAccount, Priority, DefaultStorageClass, and the one that lets claims grow."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, key: str, obj: JsonObject, old: JsonObject | None) -> None:
        """Complete an object in place; raises 403."""
        if key == "pods" and old is None:
            self._account(obj)
            self._priority(obj)
        elif key == "persistentvolumeclaims":
            if old is None:
                self._new_claim(obj)
            elif claims.grows(obj, old) and lookup(old, "status", "phase") == "Bound":
                self._growth(obj)

    def _account(self, pod: JsonObject) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        account = self._store.peek("serviceaccounts", namespace, name)
        if account is None and name != "default":  # each namespace gets that one, a moment later
            why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise forbidden("", "pods", pod["metadata"]["name"], why)
        secrets = account.obj.get("imagePullSecrets") if account is not None else None
        if secrets and not pod["spec"].get("imagePullSecrets"):
            pod["spec"]["imagePullSecrets"] = [dict(item) for item in secrets]
        automount = pod["spec"].get("automountServiceAccountToken")
        if automount is None and account is not None:
            automount = account.obj.get("automountServiceAccountToken")
        if automount is not False:
            _mount_token(pod["spec"])

    def _priority(self, pod: JsonObject) -> None:
        spec = pod["spec"]
        name = spec.get("priorityClassName")
        key = "priorityclasses.scheduling.k8s.io"
        if not name:
            chosen = next((item.obj for item in self._store.peek_all(key) if item.obj.get("globalDefault")), None)
            if chosen is not None:
                spec["priorityClassName"] = chosen["metadata"]["name"]
        else:
            stored = self._store.peek(key, "", name)
            chosen = stored.obj if stored is not None else None
            if chosen is None and name in _CRITICAL:
                chosen = {"value": _CRITICAL[name]}
            if chosen is None:
                why = f"no PriorityClass with name {name} was found"
                raise forbidden("", "pods", pod["metadata"]["name"], why)
        spec["priority"] = chosen.get("value", 0) if chosen is not None else 0
        policy = (chosen or {}).get("preemptionPolicy") or "PreemptLowerPriority"
        spec["preemptionPolicy"] = spec.get("preemptionPolicy") or policy

    def _new_claim(self, claim: JsonObject) -> None:
        finalizers = claim["metadata"].get("finalizers") or []
        if claims.PROTECTION not in finalizers:
            claim["metadata"]["finalizers"] = [*finalizers, claims.PROTECTION]
        if claim["spec"].get("storageClassName") is not None:
            return
        defaults = [
            stored.obj["metadata"]
            for stored in self._store.peek_all("storageclasses.storage.k8s.io")
            if lookup(stored.obj, "metadata", "annotations", _DEFAULT_CLASS) == "true"
        ]
        if defaults:
            newest = max(item["creationTimestamp"] for item in defaults)
            claim["spec"]["storageClassName"] = min(
                item["name"] for item in defaults if item["creationTimestamp"] == newest
            )

    def _growth(self, claim: JsonObject) -> None:
        stored = self._store.peek("storageclasses.storage.k8s.io", "", claim["spec"].get("storageClassName") or "")
        if stored is None or not stored.obj.get("allowVolumeExpansion"):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )
            raise forbidden("", "persistentvolumeclaims", claim["metadata"]["name"], why)


def _mount_token(spec: JsonObject) -> None:
    """Give a pod the volume with its token, and every container a mount of it that has none at that place."""
    name = next((str(item["name"]) for item in spec.get("volumes") or [] if _is_token(item)), "")
    if not name:
        name = generate_name("kube-api-access-")
    mounted = False
    for container in containers_of(spec):
        mounts = container.get("volumeMounts") or []
        if all(mount.get("mountPath") != _TOKEN_DIRECTORY for mount in mounts):
            added = {"name": name, "readOnly": True, "mountPath": _TOKEN_DIRECTORY}
            container["volumeMounts"] = [*mounts, added]
            mounted = True
    if mounted and all(item.get("name") != name for item in spec.get("volumes") or []):
        spec["volumes"] = [*(spec.get("volumes") or []), {"name": name, "projected": _token_sources()}]


def _is_token(volume: JsonObject) -> bool:
    return str(volume.get("name") or "").startswith("kube-api-access-")


def _token_sources() -> JsonObject:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 420,
    }
