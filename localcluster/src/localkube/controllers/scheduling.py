"""On which nodes a pod may run, and which of them is best.

Supported: nodeName, nodeSelector, node affinity of pods and of volumes, taints, unschedulable nodes, required pod
affinity and anti-affinity, topology spread with DoNotSchedule. Of preferences, those for nodes are weighed: among the
best nodes the one with the fewest pods wins. Resources are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localkube.controllers.objects import is_deleting, labels_of, meta, requirement_matches, selector_matches
from localkube.controllers.resources import Obj


@dataclass(frozen=True)
class Decision:
    """The chosen node, or why there is none."""

    node: str | None
    message: str = ""


def choose(pod: Obj, nodes: Sequence[Obj], pods: Sequence[Obj], volumes: Sequence[Obj] = ()) -> Decision:
    """Returns the node for a pod; `pods` are all bound pods of the cluster, `volumes` those that the pod's claims are
    bound to."""
    reasons: dict[str, int] = {}
    fitting = []
    for node in nodes:
        why = refusal(pod, node, nodes, pods, volumes)
        if why is None:
            fitting.append(node)
        else:
            reasons[why] = reasons.get(why, 0) + 1
    if not fitting:
        listed = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        return Decision(None, f"0/{len(nodes)} nodes are available: {listed or 'no nodes'}.")
    load = {meta(n)["name"]: 0 for n in fitting}
    for other in pods:
        name = other["spec"].get("nodeName")
        if name in load:
            load[name] += 1
    preferred = {meta(node)["name"]: preference(pod, node) for node in fitting}
    return Decision(min(load, key=lambda name: (-preferred[name], load[name], name)))


def preference(pod: Obj, node: Obj) -> int:
    """Returns the sum of the weights of the preferences that a node meets."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    return sum(term["weight"] for term in terms if term_matches(term["preference"], node))


def refusal(pod: Obj, node: Obj, nodes: Sequence[Obj], pods: Sequence[Obj], volumes: Sequence[Obj] = ()) -> str | None:
    """Returns why a node cannot take a pod, None when it can."""
    spec = pod["spec"]
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    labels = labels_of(node)
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return "node(s) didn't match Pod's node affinity/selector"
    affinity = spec.get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None and not any(term_matches(t, node) for t in required.get("nodeSelectorTerms") or []):
        return "node(s) didn't match Pod's node affinity/selector"
    taint = untolerated(spec.get("tolerations") or [], node["spec"].get("taints") or [])
    if taint is not None:
        return f"node(s) had untolerated taint {{{taint.get('key')}: {taint.get('value', '')}}}"
    if not all(_reaches(node, volume) for volume in volumes):
        return "node(s) didn't match PersistentVolume's node affinity"
    if not _pod_affinity(pod, node, nodes, pods):
        return "node(s) didn't match pod affinity/anti-affinity rules"
    if not _spread(pod, node, nodes, pods):
        return "node(s) didn't match pod topology spread constraints"
    return None


def _reaches(node: Obj, volume: Obj) -> bool:
    """Whether a volume can be used on a node."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or any(term_matches(term, node) for term in required.get("nodeSelectorTerms") or [])


def term_matches(term: Mapping[str, Any], node: Obj) -> bool:
    """Returns whether a node meets a node selector term; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(requirement_matches(r, labels_of(node)) for r in expressions) and all(
        requirement_matches(r, {"metadata.name": meta(node)["name"]}) for r in fields
    )


def untolerated(tolerations: Sequence[Mapping[str, Any]], taints: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns the first taint that keeps the pod away."""
    for taint in taints:
        if taint.get("effect") == "PreferNoSchedule":
            continue
        if not any(_tolerates(t, taint) for t in tolerations):
            return dict(taint)
    return None


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    return toleration.get("key") == taint.get("key") and toleration.get("value", "") == taint.get("value", "")


def _domain_pods(key: str, node: Obj, nodes: Sequence[Obj], pods: Sequence[Obj]) -> list[Obj]:
    value = labels_of(node).get(key)
    if value is None:
        return []
    names = {meta(n)["name"] for n in nodes if labels_of(n).get(key) == value}
    return [p for p in pods if p["spec"].get("nodeName") in names and not is_deleting(p)]


def _term_selects(term: Mapping[str, Any], pod: Obj, other: Obj) -> bool:
    namespaces = term.get("namespaces") or [meta(pod)["namespace"]]
    return meta(other)["namespace"] in namespaces and selector_matches(term.get("labelSelector"), labels_of(other))


def _pod_affinity(pod: Obj, node: Obj, nodes: Sequence[Obj], pods: Sequence[Obj]) -> bool:
    affinity = pod["spec"].get("affinity") or {}
    name = "requiredDuringSchedulingIgnoredDuringExecution"
    for term in (affinity.get("podAntiAffinity") or {}).get(name) or []:
        if any(_term_selects(term, pod, o) for o in _domain_pods(term["topologyKey"], node, nodes, pods)):
            return False
    for term in (affinity.get("podAffinity") or {}).get(name) or []:
        if any(_term_selects(term, pod, o) for o in _domain_pods(term["topologyKey"], node, nodes, pods)):
            continue
        first_of_its_kind = _term_selects(term, pod, pod) and not any(_term_selects(term, pod, o) for o in pods)
        if not first_of_its_kind or term["topologyKey"] not in labels_of(node):
            return False
    return True


def _spread(pod: Obj, node: Obj, nodes: Sequence[Obj], pods: Sequence[Obj]) -> bool:
    for constraint in pod["spec"].get("topologySpreadConstraints") or []:
        if constraint.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        key = constraint["topologyKey"]
        if key not in labels_of(node):
            return False
        selector = constraint.get("labelSelector")
        wanted = pod["spec"].get("nodeSelector") or {}
        counts: dict[str, int] = {}
        for candidate in nodes:
            labels = labels_of(candidate)
            if key in labels and all(labels.get(k) == v for k, v in wanted.items()):
                counts.setdefault(labels[key], 0)
        for other in pods:
            home = next((n for n in nodes if meta(n)["name"] == other["spec"].get("nodeName")), None)
            if home is None or is_deleting(other) or meta(other)["namespace"] != meta(pod)["namespace"]:
                continue
            value = labels_of(home).get(key)
            if value in counts and selector_matches(selector, labels_of(other)):
                counts[value] += 1
        own = counts.get(labels_of(node)[key], 0) + int(selector_matches(selector, labels_of(pod)))
        if own - min(counts.values(), default=0) > int(constraint.get("maxSkew", 1)):
            return False
    return True
