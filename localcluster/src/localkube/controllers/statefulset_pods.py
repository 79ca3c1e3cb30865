"""The pods and claims a StatefulSet wants, as the API documentation describes their identity."""

from __future__ import annotations

import copy
from typing import Any

from localkube.controllers.objects import key_of, labels_of, meta, owner_reference, short_hash
from localkube.controllers.resources import STATEFUL_SETS, Obj

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
REVISION_LABEL = "controller-revision-hash"


def start_ordinal(sts: Obj) -> int:
    """Returns the ordinal of the first pod (`spec.ordinals.start`)."""
    return int((sts["spec"].get("ordinals") or {}).get("start") or 0)


def replicas_of(sts: Obj) -> int:
    """`spec.replicas`, 1 when absent."""
    value = sts["spec"].get("replicas")
    return 1 if value is None else int(value)


def pod_name(sts: Obj, ordinal: int) -> str:
    """Returns the name of the pod with that ordinal."""
    return f"{meta(sts)['name']}-{ordinal}"


def ordinal_of(sts: Obj, pod: Obj) -> int | None:
    """Returns the ordinal in a pod's name, None when the name is not one of this set's."""
    prefix, _, tail = meta(pod)["name"].rpartition("-")
    if prefix != meta(sts)["name"] or not tail.isdigit() or (len(tail) > 1 and tail[0] == "0"):
        return None
    return int(tail)


def claim_name(sts: Obj, template: Obj, ordinal: int) -> str:
    """Returns the name of the claim made from a volumeClaimTemplate for one pod."""
    return f"{template['metadata']['name']}-{pod_name(sts, ordinal)}"


def revision_name(sts: Obj, template: Obj) -> str:
    """Returns the name of the ControllerRevision that holds a pod template."""
    return f"{meta(sts)['name']}-{short_hash(template)}"


def revision_of(pod: Obj) -> str:
    """Returns the revision a pod was made from."""
    return labels_of(pod).get(REVISION_LABEL, "")


def build_pod(sts: Obj, template: Obj, revision: str, ordinal: int) -> Obj:
    """Returns the pod of one ordinal from a pod template."""
    namespace, _ = key_of(sts)
    name = pod_name(sts, ordinal)
    template = copy.deepcopy(template)
    metadata = dict(template.get("metadata") or {})
    spec: dict[str, Any] = template.get("spec") or {}
    labels = dict(metadata.get("labels") or {})
    labels.update({POD_NAME_LABEL: name, POD_INDEX_LABEL: str(ordinal), REVISION_LABEL: revision})
    spec["hostname"] = name
    if sts["spec"].get("serviceName"):
        spec["subdomain"] = sts["spec"]["serviceName"]
    claims = sts["spec"].get("volumeClaimTemplates") or []
    claimed = {c["metadata"]["name"]: claim_name(sts, c, ordinal) for c in claims}
    volumes = [v for v in spec.get("volumes") or [] if v["name"] not in claimed]
    volumes += [{"name": volume, "persistentVolumeClaim": {"claimName": claim}} for volume, claim in claimed.items()]
    if volumes:
        spec["volumes"] = volumes
    result: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "generateName": f"{meta(sts)['name']}-",
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(sts, STATEFUL_SETS)],
        },
        "spec": spec,
    }
    if metadata.get("annotations"):
        result["metadata"]["annotations"] = metadata["annotations"]
    return result


def build_claims(sts: Obj, ordinal: int) -> list[Obj]:
    """Returns the claims of one ordinal's pod."""
    namespace, _ = key_of(sts)
    claims = []
    for template in sts["spec"].get("volumeClaimTemplates") or []:
        claim = copy.deepcopy(template)
        metadata = claim["metadata"]
        claim.update(apiVersion="v1", kind="PersistentVolumeClaim")
        claim.pop("status", None)
        selector_labels = (sts["spec"].get("selector") or {}).get("matchLabels") or {}
        claim["metadata"] = {
            "name": claim_name(sts, template, ordinal),
            "namespace": namespace,
            "labels": {**selector_labels, **(metadata.get("labels") or {})},
        }
        if metadata.get("annotations"):
            claim["metadata"]["annotations"] = metadata["annotations"]
        claims.append(claim)
    return claims


def claim_owners(sts: Obj, claim: Obj, pod: Obj | None, *, condemned: bool) -> list[dict[str, Any]]:
    """Returns the owner references a claim should have by the set's persistentVolumeClaimRetentionPolicy.

    whenDeleted Delete: the set owns it. whenScaled Delete: instead, the pod of a condemned ordinal owns it, so that it
    goes with the pod. References to anybody else stay.
    """
    policy = sts["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    set_ref = owner_reference(sts, STATEFUL_SETS, controller=False)
    kept = [
        ref
        for ref in meta(claim).get("ownerReferences") or []
        if ref.get("uid") != set_ref["uid"]
        and not (ref.get("kind") == "Pod" and ref.get("name") == _pod_of(sts, claim))
    ]
    goes_with_pod = policy.get("whenScaled") == "Delete" and condemned
    if policy.get("whenDeleted") == "Delete" and not goes_with_pod:
        kept.append(set_ref)
    if goes_with_pod and pod is not None:
        kept.append({"apiVersion": "v1", "kind": "Pod", "name": meta(pod)["name"], "uid": meta(pod)["uid"]})
    return kept


def _pod_of(sts: Obj, claim: Obj) -> str:
    name: str = meta(claim)["name"]
    for template in sts["spec"].get("volumeClaimTemplates") or []:
        prefix = template["metadata"]["name"] + "-"
        if name.startswith(prefix):
            return name[len(prefix) :]
    return ""
