"""What is wrong with objects of built-in kinds: mistakes beyond the recorded ones, one in each object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.apiserver.kinds.strategy import KindStrategy
from localkube.apiserver.objects.store import Store
from localkube.apiserver.schema.provider import Schemas

CONTAINER: dict[str, Any] = {"name": "main", "image": "example.com/main:1"}
LABELS = {"app": "a"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
WORKLOAD = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
RIGHT: dict[str, dict[str, Any]] = {
    "pods": {"spec": {"containers": [CONTAINER]}},
    "services": {"spec": {"ports": [{"port": 80}], "selector": LABELS}},
    "configmaps": {"data": {"k": "v"}},
    "secrets": {"data": {"k": "dg=="}},
    "persistentvolumeclaims": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    "persistentvolumes": {
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
    },
    "statefulsets.apps": {"spec": {"serviceName": "a", **WORKLOAD}},
    "deployments.apps": {"spec": WORKLOAD},
    "replicasets.apps": {"spec": WORKLOAD},
    "poddisruptionbudgets.policy": {"spec": {"minAvailable": 1}},
    "leases.coordination.k8s.io": {"spec": {"leaseDurationSeconds": 1}},
    "networkpolicies.networking.k8s.io": {"spec": {"podSelector": {}}},
    "roles.rbac.authorization.k8s.io": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "rolebindings.rbac.authorization.k8s.io": {
        "roleRef": {"kind": "Role", "name": "a"},
        "subjects": [{"kind": "User", "name": "u"}],
    },
    "clusterrolebindings.rbac.authorization.k8s.io": {"roleRef": {"kind": "ClusterRole", "name": "a"}},
    "storageclasses.storage.k8s.io": {"provisioner": "example.com/p"},
    "priorityclasses.scheduling.k8s.io": {"value": 1},
    "endpointslices.discovery.k8s.io": {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}]},
    "events": {"involvedObject": {"namespace": "default", "name": "a"}},
}
INVALID, REQUIRED, FORBIDDEN = "FieldValueInvalid", "FieldValueRequired", "FieldValueForbidden"
UNSUPPORTED, DUPLICATE, MISSING = "FieldValueNotSupported", "FieldValueDuplicate", "FieldValueNotFound"


@pytest.fixture
def store() -> Iterator[Store]:
    strategy = KindStrategy(Schemas())
    store = Store(strategy=strategy)
    strategy.attach(store, "10.96.0.0/16")
    store.create("namespaces", {"metadata": {"name": "default"}})
    yield store
    store.close()


def changed(obj: Any, path: str, value: Any) -> Any:
    """A copy with the value at a path; ``-`` removes what is there."""
    obj = json.loads(json.dumps(obj))
    *steps, last = [int(step) if step.isdecimal() else step for step in path.split("/")]
    at = obj
    for step in steps:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    if value == "-":
        del at[last]
    elif isinstance(last, int) and last == len(at):
        at.append(value)
    else:
        at[last] = value
    return obj


def named(key: str, name: str = "a") -> dict[str, Any]:
    return {**RIGHT[key], "metadata": {"name": name}}


def refusal(error: ApiError) -> set[tuple[str, str]]:
    assert error.code == 422, error.message
    assert error.details is not None
    return {(cause["reason"], cause["field"]) for cause in error.details["causes"]}


@pytest.mark.parametrize("key", RIGHT)
def test_what_is_right_is_accepted_and_stays_as_it_is(store: Store, key: str) -> None:
    made = store.create(key, named(key))
    again = store.update(key, made)
    assert again == made, "a second pass changes nothing"


MAIN = "spec/containers/0"
TEMPLATE_MAIN = "spec/template/spec/containers/0"
PROBE = {"httpGet": {"port": 80}}
MISTAKES: list[tuple[str, str, Any, str, str]] = [
    # kind, where, what, and the reason and field of the refusal
    (
        "pods",
        f"{MAIN}/ports",
        [{"containerPort": 80, "hostPort": 70000}],
        INVALID,
        "spec.containers[0].ports[0].hostPort",
    ),
    (
        "pods",
        f"{MAIN}/ports",
        [{"containerPort": 1, "protocol": "ICMP"}],
        UNSUPPORTED,
        "spec.containers[0].ports[0].protocol",
    ),
    ("pods", f"{MAIN}/ports", [{"containerPort": 1, "name": "UP"}], INVALID, "spec.containers[0].ports[0].name"),
    ("pods", f"{MAIN}/env", [{"name": "A", "valueFrom": {}}], INVALID, "spec.containers[0].env[0].valueFrom"),
    (
        "pods",
        f"{MAIN}/env",
        [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": ""}}}],
        REQUIRED,
        "spec.containers[0].env[0].valueFrom.secretKeyRef.key",
    ),
    (
        "pods",
        f"{MAIN}/env",
        [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.restartPolicy"}}}],
        UNSUPPORTED,
        "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
    ),
    ("pods", f"{MAIN}/envFrom", [{"prefix": "p"}], INVALID, "spec.containers[0].envFrom"),
    ("pods", f"{MAIN}/envFrom", [{"configMapRef": {}}], REQUIRED, "spec.containers[0].envFrom[0].configMapRef.name"),
    (
        "pods",
        f"{MAIN}/volumeMounts",
        [{"name": "v", "mountPath": "/x"}],
        MISSING,
        "spec.containers[0].volumeMounts[0].name",
    ),
    ("pods", f"{MAIN}/livenessProbe", {}, REQUIRED, "spec.containers[0].livenessProbe"),
    (
        "pods",
        f"{MAIN}/livenessProbe",
        {**PROBE, "successThreshold": 2},
        INVALID,
        "spec.containers[0].livenessProbe.successThreshold",
    ),
    ("pods", f"{MAIN}/readinessProbe", {"exec": {}}, REQUIRED, "spec.containers[0].readinessProbe.exec.command"),
    (
        "pods",
        f"{MAIN}/readinessProbe",
        {**PROBE, "timeoutSeconds": -1},
        INVALID,
        "spec.containers[0].readinessProbe.timeoutSeconds",
    ),
    (
        "pods",
        f"{MAIN}/startupProbe",
        {"tcpSocket": {"port": 0}},
        INVALID,
        "spec.containers[0].startupProbe.tcpSocket.port",
    ),
    ("pods", f"{MAIN}/lifecycle", {"preStop": {}}, REQUIRED, "spec.containers[0].lifecycle.preStop"),
    (
        "statefulsets.apps",
        f"{TEMPLATE_MAIN}/resources",
        {"limits": {"example.com/gpu": "1.5"}},
        INVALID,
        "spec.template.spec.containers[0].resources.limits[example.com/gpu]",
    ),
    (
        "pods",
        f"{MAIN}/resources",
        {"limits": {"example.com/gpu": "2"}, "requests": {"example.com/gpu": "1"}},
        INVALID,
        "spec.containers[0].resources.requests",
    ),
    (
        "pods",
        f"{MAIN}/terminationMessagePolicy",
        "Sometimes",
        UNSUPPORTED,
        "spec.containers[0].terminationMessagePolicy",
    ),
    ("pods", f"{MAIN}/securityContext", {"runAsUser": -1}, INVALID, "spec.containers[0].securityContext.runAsUser"),
    ("pods", f"{MAIN}/restartPolicy", "Sometimes", UNSUPPORTED, "spec.containers[0].restartPolicy"),
    ("pods", f"{MAIN}/image", " x", INVALID, "spec.containers[0].image"),
    ("pods", "spec/initContainers", [CONTAINER], DUPLICATE, "spec.initContainers[0].name"),
    (
        "pods",
        "spec/initContainers",
        [{**CONTAINER, "name": "i", "livenessProbe": PROBE}],
        FORBIDDEN,
        "spec.initContainers[0].livenessProbe",
    ),
    ("pods", "spec/ephemeralContainers", [{**CONTAINER, "name": "e"}], FORBIDDEN, "spec.ephemeralContainers"),
    (
        "pods",
        "spec/volumes",
        [{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}],
        FORBIDDEN,
        "spec.volumes[0].secret",
    ),
    ("pods", "spec/volumes", [{"name": "v", "secret": {}}], REQUIRED, "spec.volumes[0].secret.secretName"),
    (
        "pods",
        "spec/volumes",
        [{"name": "v", "configMap": {"name": "c", "defaultMode": 512}}],
        INVALID,
        "spec.volumes[0].configMap.defaultMode",
    ),
    (
        "pods",
        "spec/volumes",
        [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}],
        INVALID,
        "spec.volumes[0].configMap.items[0].path",
    ),
    (
        "pods",
        "spec/volumes",
        [{"name": "v", "emptyDir": {"sizeLimit": "-1"}}],
        FORBIDDEN,
        "spec.volumes[0].emptyDir.sizeLimit",
    ),
    (
        "pods",
        "spec/volumes",
        [{"name": "v", "persistentVolumeClaim": {}}],
        REQUIRED,
        "spec.volumes[0].persistentVolumeClaim.claimName",
    ),
    ("pods", "spec/volumes", [{"name": "V", "emptyDir": {}}], INVALID, "spec.volumes[0].name"),
    ("pods", "spec/dnsPolicy", "Mine", UNSUPPORTED, "spec.dnsPolicy"),
    ("pods", "spec/dnsPolicy", "None", REQUIRED, "spec.dnsConfig"),
    ("pods", "spec/dnsConfig", {"searches": ["a b"]}, INVALID, "spec.dnsConfig.searches[0]"),
    ("pods", "spec/dnsConfig", {"options": [{"value": "1"}]}, REQUIRED, "spec.dnsConfig.options[0]"),
    ("pods", "spec/resourceClaims", [{"name": "a"}], INVALID, "spec.resourceClaims[0]"),
    ("pods", "spec/hostname", "Up", INVALID, "spec.hostname"),
    ("pods", "spec/nodeSelector", {"a b": "c"}, INVALID, "spec.nodeSelector"),
    ("pods", "spec/activeDeadlineSeconds", 0, INVALID, "spec.activeDeadlineSeconds"),
    ("pods", "spec/tolerations", [{"key": "k", "effect": "Never"}], UNSUPPORTED, "spec.tolerations[0].effect"),
    (
        "pods",
        "spec/tolerations",
        [{"key": "k", "operator": "Exists", "value": "v"}],
        INVALID,
        "spec.tolerations[0].operator",
    ),
    ("pods", "spec/tolerations", [{"key": "k", "tolerationSeconds": 1}], INVALID, "spec.tolerations[0].effect"),
    ("pods", "spec/hostAliases", [{"ip": "x"}], INVALID, "spec.hostAliases[0].ip"),
    ("pods", "spec/schedulingGates", [{"name": "a"}, {"name": "a"}], DUPLICATE, "spec.schedulingGates[1]"),
    (
        "pods",
        "spec/affinity",
        {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}},
        REQUIRED,
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
    ),
    (
        "pods",
        "spec/affinity",
        {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        REQUIRED,
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
    ),
    ("services", "spec/ports/0/nodePort", 30000, FORBIDDEN, "spec.ports[0].nodePort"),
    ("services", "spec/ports/0/appProtocol", "a b", INVALID, "spec.ports[0].appProtocol"),
    ("services", "spec/clusterIP", "nonsense", INVALID, "spec.clusterIPs[0]"),
    ("services", "spec/ipFamilies", ["IPv5"], UNSUPPORTED, "spec.ipFamilies[0]"),
    ("services", "spec/ipFamilies", ["IPv6"], INVALID, "spec.ipFamilies[0]"),
    ("services", "spec/ipFamilyPolicy", "Both", UNSUPPORTED, "spec.ipFamilyPolicy"),
    ("services", "spec/internalTrafficPolicy", "Near", UNSUPPORTED, "spec.internalTrafficPolicy"),
    ("services", "spec/externalTrafficPolicy", "Local", INVALID, "spec.externalTrafficPolicy"),
    ("services", "spec/externalIPs", ["x"], INVALID, "spec.externalIPs[0]"),
    ("services", "spec/loadBalancerClass", "example.com/x", FORBIDDEN, "spec.loadBalancerClass"),
    ("configmaps", "binaryData", {"..": "dg=="}, INVALID, "binaryData[..]"),
    ("configmaps", "data/k", "x" * (1024 * 1024 + 1), "FieldValueTooLong", "[]"),
    ("secrets", "type", "kubernetes.io/ssh-auth", REQUIRED, "data[ssh-privatekey]"),
    ("secrets", "type", "kubernetes.io/dockercfg", REQUIRED, "data[.dockercfg]"),
    ("persistentvolumeclaims", "spec/resources/requests/storage", "-1Gi", INVALID, "spec.resources[storage]"),
    ("persistentvolumeclaims", "spec/dataSource", {"kind": "Pod", "name": "a"}, INVALID, "spec.dataSource"),
    ("persistentvolumeclaims", "spec/selector", {"matchLabels": {"a": "b c"}}, INVALID, "spec.selector.matchLabels"),
    ("persistentvolumes", "spec/hostPath", "-", REQUIRED, "spec"),
    ("persistentvolumes", "spec/capacity", "-", REQUIRED, "spec.capacity"),
    (
        "persistentvolumes",
        "spec/persistentVolumeReclaimPolicy",
        "Burn",
        UNSUPPORTED,
        "spec.persistentVolumeReclaimPolicy",
    ),
    ("statefulsets.apps", "spec/minReadySeconds", -1, INVALID, "spec.minReadySeconds"),
    ("statefulsets.apps", "spec/revisionHistoryLimit", -1, INVALID, "spec.revisionHistoryLimit"),
    (
        "statefulsets.apps",
        "spec/updateStrategy",
        {"rollingUpdate": {"partition": -1}},
        INVALID,
        "spec.updateStrategy.rollingUpdate.partition",
    ),
    (
        "statefulsets.apps",
        "spec/persistentVolumeClaimRetentionPolicy",
        {"whenScaled": "Never"},
        UNSUPPORTED,
        "spec.persistentVolumeClaimRetentionPolicy.whenScaled",
    ),
    ("statefulsets.apps", f"{TEMPLATE_MAIN}/name", "x_y", INVALID, "spec.template.spec.containers[0].name"),
    (
        "statefulsets.apps",
        "spec/template/spec/activeDeadlineSeconds",
        5,
        FORBIDDEN,
        "spec.template.spec.activeDeadlineSeconds",
    ),
    ("deployments.apps", "spec/strategy", {"type": "Slow"}, UNSUPPORTED, "spec.strategy.type"),
    (
        "deployments.apps",
        "spec/strategy",
        {"rollingUpdate": {"maxUnavailable": "101%"}},
        INVALID,
        "spec.strategy.rollingUpdate.maxUnavailable",
    ),
    ("replicasets.apps", "spec/replicas", -1, INVALID, "spec.replicas"),
    ("poddisruptionbudgets.policy", "spec/minAvailable", "101%", INVALID, "spec.minAvailable"),
    (
        "poddisruptionbudgets.policy",
        "spec/selector",
        {"matchExpressions": [{"key": "a", "operator": "In"}]},
        REQUIRED,
        "spec.selector.matchExpressions[0].values",
    ),
    ("leases.coordination.k8s.io", "spec/leaseTransitions", -1, INVALID, "spec.leaseTransitions"),
    ("networkpolicies.networking.k8s.io", "spec/egress", [{"to": [{}]}], REQUIRED, "spec.egress[0].to[0]"),
    (
        "networkpolicies.networking.k8s.io",
        "spec/ingress",
        [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]}],
        INVALID,
        "spec.ingress[0].from[0].ipBlock.except[0]",
    ),
    (
        "networkpolicies.networking.k8s.io",
        "spec/ingress",
        [{"ports": [{"port": 80, "endPort": 79}]}],
        INVALID,
        "spec.ingress[0].ports[0].endPort",
    ),
    ("roles.rbac.authorization.k8s.io", "rules/0/resources", [], REQUIRED, "rules[0].resources"),
    ("rolebindings.rbac.authorization.k8s.io", "roleRef/apiGroup", "apps", UNSUPPORTED, "roleRef.apiGroup"),
    ("rolebindings.rbac.authorization.k8s.io", "roleRef/name", "a/b", INVALID, "roleRef.name"),
    ("rolebindings.rbac.authorization.k8s.io", "subjects/0/name", "", REQUIRED, "subjects[0].name"),
    ("rolebindings.rbac.authorization.k8s.io", "subjects/0/apiGroup", "apps", UNSUPPORTED, "subjects[0].apiGroup"),
    ("clusterrolebindings.rbac.authorization.k8s.io", "roleRef/kind", "Role", UNSUPPORTED, "roleRef.kind"),
    (
        "clusterrolebindings.rbac.authorization.k8s.io",
        "subjects",
        [{"kind": "ServiceAccount", "name": "a"}],
        REQUIRED,
        "subjects[0].namespace",
    ),
    ("storageclasses.storage.k8s.io", "provisioner", "a b", INVALID, "provisioner"),
    ("storageclasses.storage.k8s.io", "volumeBindingMode", "Never", UNSUPPORTED, "volumeBindingMode"),
    ("priorityclasses.scheduling.k8s.io", "value", 2_000_000_000, FORBIDDEN, "value"),
    ("endpointslices.discovery.k8s.io", "endpoints/0/addresses", [], REQUIRED, "endpoints[0].addresses"),
    ("endpointslices.discovery.k8s.io", "addressType", "IPX", UNSUPPORTED, "addressType"),
    ("events", "involvedObject/namespace", "elsewhere", INVALID, "involvedObject.namespace"),
]


@pytest.mark.parametrize(("key", "path", "value", "reason", "field"), MISTAKES)
def test_each_mistake_is_refused_alone_at_its_field(
    store: Store, key: str, path: str, value: Any, reason: str, field: str
) -> None:
    with pytest.raises(ApiError) as refused:
        store.create(key, changed(named(key), path, value))
    assert refusal(refused.value) == {(reason, field)}


CHANGES: list[tuple[str, str, Any, str, str]] = [
    ("pods", "spec/serviceAccountName", "other", FORBIDDEN, "spec"),
    ("pods", "spec/containers/1", {**CONTAINER, "name": "b"}, FORBIDDEN, "spec.containers"),
    ("services", "spec/clusterIP", "10.96.0.200", INVALID, "spec.clusterIPs[0]"),
    ("secrets", "type", "example.com/x", INVALID, "type"),
    ("persistentvolumeclaims", "spec/accessModes", ["ReadWriteMany"], FORBIDDEN, "spec"),
    ("persistentvolumes", "spec/hostPath/path", "/y", FORBIDDEN, "spec.persistentvolumesource"),
    ("statefulsets.apps", "spec/serviceName", "b", FORBIDDEN, "spec"),
    ("deployments.apps", "spec/selector/matchLabels", {"app": "a", "b": "c"}, INVALID, "spec.selector"),
    ("rolebindings.rbac.authorization.k8s.io", "roleRef/name", "b", INVALID, "roleRef"),
    ("storageclasses.storage.k8s.io", "reclaimPolicy", "Retain", INVALID, "reclaimPolicy"),
    ("storageclasses.storage.k8s.io", "parameters", {"a": "b"}, FORBIDDEN, "parameters"),
    ("priorityclasses.scheduling.k8s.io", "value", 2, FORBIDDEN, "value"),
    ("endpointslices.discovery.k8s.io", "addressType", "IPv6", INVALID, "addressType"),
]


@pytest.mark.parametrize(("key", "path", "value", "reason", "field"), CHANGES)
def test_what_is_fixed_cannot_change(store: Store, key: str, path: str, value: Any, reason: str, field: str) -> None:
    made = store.create(key, named(key))
    with pytest.raises(ApiError) as refused:
        store.update(key, changed(made, path, value))
    assert (reason, field) in refusal(refused.value)
    assert store.get(key, made["metadata"].get("namespace"), "a") == made


@pytest.mark.parametrize(
    ("key", "status", "field"),
    [
        ("statefulsets.apps", {"replicas": 1, "updatedReplicas": 2}, "status.updatedReplicas"),
        ("deployments.apps", {"replicas": 1, "readyReplicas": 0, "availableReplicas": 1}, "status.availableReplicas"),
        ("replicasets.apps", {"replicas": 0, "fullyLabeledReplicas": 1}, "status.fullyLabeledReplicas"),
        ("poddisruptionbudgets.policy", {"disruptionsAllowed": -1}, "status.disruptionsAllowed"),
        ("pods", {"podIPs": [{"ip": "here"}]}, "status.podIPs[0]"),
        ("persistentvolumeclaims", {"capacity": {"storage": "-1"}}, "status.capacity[storage]"),
    ],
)
def test_a_status_that_contradicts_itself_is_refused(
    store: Store, key: str, status: dict[str, Any], field: str
) -> None:
    made = store.create(key, named(key))
    with pytest.raises(ApiError) as refused:
        store.update(key, {**made, "status": {**made["status"], **status}}, subresource="status")
    assert refusal(refused.value) == {(INVALID, field)}


@pytest.mark.parametrize(
    ("key", "path", "value", "text"),
    [
        ("deployments.apps", "spec/replicas", 2**31, "cannot unmarshal number 2147483648"),
        ("leases.coordination.k8s.io", "spec/renewTime", "2024-01-01T00:00:00Z", "parsing time"),
        ("events", "firstTimestamp", "2024-02-30T00:00:00Z", "parsing time"),
        ("secrets", "data/k", "dg=", "illegal base64 data at input byte"),
        ("pods", f"{MAIN}/resources", {"limits": {"cpu": "1.2.3"}}, "quantities must match"),
    ],
)
def test_what_cannot_be_decoded_is_refused_as_such(store: Store, key: str, path: str, value: Any, text: str) -> None:
    with pytest.raises(ApiError, match=text) as refused:
        store.create(key, changed(named(key), path, value))
    assert refused.value.code == 400


def test_a_service_gets_a_node_port_of_its_own_and_gives_it_back(store: Store) -> None:
    def node_port(obj: dict[str, Any]) -> Any:
        return obj["spec"]["ports"][0].get("nodePort")

    first, second = (
        store.create("services", changed(named("services", name), "spec/type", "NodePort")) for name in ("a", "b")
    )
    assert node_port(first) != node_port(second)
    with pytest.raises(ApiError, match="provided port is already allocated"):
        store.update("services", changed(first, "spec/ports/0/nodePort", node_port(second)))
    plain = store.update("services", changed(changed(first, "spec/type", "ClusterIP"), "spec/ports/0/nodePort", "-"))
    assert node_port(plain) is None
    assert "externalTrafficPolicy" not in plain["spec"]


def test_pods_need_the_account_and_the_priority_that_they_name(store: Store) -> None:
    for field in ("serviceAccountName", "priorityClassName"):
        with pytest.raises(ApiError) as refused:
            store.create("pods", changed(named("pods"), f"spec/{field}", "missing"))
        assert refused.value.code == 403
    store.create("priorityclasses.scheduling.k8s.io", named("priorityclasses.scheduling.k8s.io", "high"))
    pod = store.create("pods", changed(named("pods"), "spec/priorityClassName", "high"))
    assert pod["spec"]["priority"] == 1
