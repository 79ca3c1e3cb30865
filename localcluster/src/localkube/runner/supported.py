"""What a pod may ask for that this runner does not do, found before anything is started."""

from __future__ import annotations

from localkube.controllers.resources import Obj

VOLUMES = ("emptyDir", "persistentVolumeClaim", "configMap", "secret", "projected", "downwardAPI")
PROJECTED = ("configMap", "secret", "downwardAPI", "serviceAccountToken")
POD_FIELDS = ("activeDeadlineSeconds", "hostAliases", "dnsConfig", "ephemeralContainers", "hostPID", "hostIPC")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def unsupported(pod: Obj) -> str | None:
    """Returns the first thing in the pod's spec that cannot be honoured; None when all can."""
    spec = pod["spec"]
    for field in POD_FIELDS:
        if spec.get(field):
            return f"spec.{field} is not supported by the local cluster"
    if spec.get("hostNetwork"):
        return "spec.hostNetwork is not supported by the local cluster: every pod has an address of its own"
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy"):
            return (
                f"init container {container['name']}: sidecars (restartPolicy) are not supported by the local cluster"
            )
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        why = _unsupported_container(container)
        if why is not None:
            return f"container {container['name']}: {why}"
    return None


def _unsupported_container(container: Obj) -> str | None:
    if container.get("restartPolicy"):
        return "restartPolicy of a single container is not supported by the local cluster"
    if container.get("volumeDevices"):
        return "volumeDevices are not supported by the local cluster"
    if (container.get("lifecycle") or {}).get("postStart"):
        return "lifecycle.postStart is not supported by the local cluster"
    hook = (container.get("lifecycle") or {}).get("preStop") or {}
    if hook and not ({"exec", "httpGet", "sleep"} & set(hook)):
        return "lifecycle.preStop supports exec, httpGet and sleep in the local cluster"
    for mount in container.get("volumeMounts") or []:
        if mount.get("subPathExpr"):
            return "volumeMounts.subPathExpr is not supported by the local cluster"
    for name in PROBES:
        probe = container.get(name)
        if probe and not ({"httpGet", "tcpSocket", "exec"} & set(probe)):
            return f"{name} supports httpGet, tcpSocket and exec in the local cluster"
    return None


def unsupported_volume(volume: Obj) -> str | None:
    """Returns why a volume cannot be mounted here; None when it can."""
    kinds = [k for k in volume if k != "name"]
    if not kinds:
        return None  # an emptyDir by default
    if kinds[0] not in VOLUMES:
        return f"volume type {kinds[0]} is not supported by the local cluster (supported: {', '.join(VOLUMES)})"
    if kinds[0] == "projected":
        for source in volume["projected"].get("sources") or []:
            for kind in source:
                if kind not in PROJECTED:
                    return f"projected source {kind} is not supported by the local cluster"
    return None
