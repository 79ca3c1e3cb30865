"""The objects that a store is made of, as a real cluster needs them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509 import verification
from rstore_operator.planning.children.compare import change_needed, covers
from rstore_operator.resource.model import UNKNOWN_PODS, OperatorPods, Placement, PodsSpec, ReplicaImage, StoreRef
from rstore_operator.resource.validate import read_spec
from rstore_operator.specs.certificates import make_authority, make_certificate, new_key
from rstore_operator.specs.configmap import config_map, replica_config
from rstore_operator.specs.labels import with_hash
from rstore_operator.specs.network_policy import network_policy
from rstore_operator.specs.pdb import disruption_budget
from rstore_operator.specs.secrets import peer_request
from rstore_operator.specs.serviceaccount import service_account
from rstore_operator.specs.services import peers_service, region_service, store_service
from rstore_operator.specs.statefulset import stateful_set
from rstore_replica.config import parse_config

REF = StoreRef("shop", "orders", "uid-1")
SPEC = read_spec(REF, {"regions": [{"name": "us-east"}, {"name": "eu-west", "replicas": 1}]})[0]
assert SPEC is not None
NOW = datetime(2026, 3, 1, tzinfo=UTC)
IMAGE = ReplicaImage("registry.example.com/replica:1.2", "Always")


def pod_of(region=SPEC.regions[0]) -> dict:  # type: ignore[no-untyped-def]
    return stateful_set(REF, SPEC, region, IMAGE)["spec"]["template"]["spec"]


def test_every_object_belongs_to_the_store_and_says_so() -> None:
    region = SPEC.regions[0]
    objects = [
        service_account(REF),
        store_service(REF, "us-east"),
        peers_service(REF, "us-east"),
        region_service(REF, "us-east"),
        config_map(REF, SPEC, region),
        disruption_budget(REF, "us-east"),
        network_policy(REF, SPEC.network_policy, UNKNOWN_PODS),
        stateful_set(REF, SPEC, region, IMAGE),
    ]
    for item in objects:
        meta = item["metadata"]
        (owner,) = meta["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("ReplicatedStore", "uid-1", True)
        assert meta["namespace"] == "shop"
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "rstore-operator"
        assert meta["labels"]["replicatedstore.io/store"] == "orders"
        json.dumps(item)


def test_services() -> None:
    peers = peers_service(REF, "us-east")["spec"]
    assert peers["clusterIP"] == "None"
    assert peers["publishNotReadyAddresses"] is True
    assert {port["name"]: port["port"] for port in peers["ports"]} == {"client": 2379, "peer": 2380, "http": 9090}
    assert region_service(REF, "us-east")["metadata"]["name"] == "orders-us-east"
    assert store_service(REF, "eu-west")["metadata"]["name"] == "orders"
    assert store_service(REF, "eu-west")["spec"]["selector"] == {
        "replicatedstore.io/store": "orders",
        "replicatedstore.io/region": "eu-west",
    }


def test_the_statefulset_starts_all_pods_at_once_and_keeps_volumes_as_asked() -> None:
    spec = stateful_set(REF, SPEC, SPEC.regions[0], IMAGE)["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["serviceName"] == "orders-us-east-peers"
    assert spec["replicas"] == 3
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    deleting = stateful_set(REF, replace(SPEC, pvc_policy="Delete"), SPEC.regions[0], IMAGE)["spec"]
    assert deleting["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert "storageClassName" not in claim["spec"], "the cluster's default"


def test_pods_run_without_privileges() -> None:
    pod = pod_of()
    assert pod["automountServiceAccountToken"] is False
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (65532, 65532, 65532)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert set(mounts) == {"/etc/rstore/config", "/etc/rstore/tls", "/var/lib/rstore", "/tmp"}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["tls"]["secret"] == {"secretName": "orders-us-east-tls", "defaultMode": 0o440}
    assert {mount["name"] for mount in mounts.values()} == {*volumes, "data"}


def test_the_container() -> None:
    (container,) = pod_of()["containers"]
    assert container["image"] == "registry.example.com/replica:1.2"
    assert container["imagePullPolicy"] == "Always"
    assert container["args"] == [
        "--config=/etc/rstore/config/replica.json",
        "--data-dir=/var/lib/rstore",
        "--tls-dir=/etc/rstore/tls",
        "--name=$(POD_NAME)",
    ]
    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["resources"] == {"requests": {"cpu": "500m", "memory": "512Mi"}}


def test_placement_defaults_to_the_regions_nodes_and_can_be_replaced() -> None:
    assert pod_of()["nodeSelector"] == {"topology.kubernetes.io/region": "us-east"}
    assert pod_of()["affinity"]["podAntiAffinity"]
    assert [item["whenUnsatisfiable"] for item in pod_of()["topologySpreadConstraints"]] == ["ScheduleAnyway"] * 2
    anywhere = pod_of(replace(SPEC.regions[0], placement=Placement()))
    assert "nodeSelector" not in anywhere
    own = Placement({"disk": "fast"}, {"nodeAffinity": {}}, ({"operator": "Exists"},), ())
    placed = pod_of(replace(SPEC.regions[0], placement=own))
    assert placed["nodeSelector"] == {"disk": "fast"}
    assert placed["affinity"] == {"nodeAffinity": {}}
    assert placed["tolerations"] == [{"operator": "Exists"}]
    assert "topologySpreadConstraints" not in placed


def test_the_configuration_is_the_same_text_as_of_earlier_versions() -> None:
    """Else the ConfigMaps of all stores would be written anew after an upgrade."""
    region = SPEC.regions[0]
    text = config_map(REF, SPEC, region)["data"]["replica.json"]
    assert text == json.dumps(replica_config(REF, SPEC, region), indent=2) + "\n"


def test_the_configuration_names_members_and_no_paths() -> None:
    text = config_map(REF, SPEC, SPEC.regions[0])["data"]["replica.json"]
    data = json.loads(text)
    assert data["members"][2] == {
        "name": "orders-us-east-2",
        "peerAddress": "orders-us-east-2.orders-us-east-peers.shop.svc:2380",
    }
    assert (data["store"], data["namespace"], data["region"]) == ("orders", "shop", "us-east")
    assert (data["clientPort"], data["peerPort"], data["httpPort"]) == (2379, 2380, 9090)
    assert "/etc" not in text
    assert "/var" not in text


def test_a_changed_configuration_restarts_the_pods_and_nothing_else_does() -> None:
    def template_hash(spec) -> str:  # type: ignore[no-untyped-def]
        template = stateful_set(REF, spec, spec.regions[0], IMAGE)["spec"]["template"]
        return template["metadata"]["annotations"]["replicatedstore.io/config-hash"]

    changed = replace(SPEC, replication=replace(SPEC.replication, batch_interval_ms=50))
    assert template_hash(SPEC) != template_hash(changed)
    assert template_hash(SPEC) == template_hash(replace(SPEC, primary_region="eu-west", pvc_policy="Delete"))


@pytest.mark.parametrize("domain", ["cluster.local", "k8s.example"])
def test_certificates_hold_every_name_under_which_cluster_dns_answers(domain: str) -> None:
    request = peer_request(REF, "us-east", ["10.1.0.7", "10.1.0.8"], domain)
    authority = make_authority("shop/orders", new_key(), NOW)
    leaf = x509.load_pem_x509_certificate(make_certificate(authority, request, new_key(), NOW).certificate)
    store = verification.Store([x509.load_pem_x509_certificate(authority.certificate)])
    builder = verification.PolicyBuilder().store(store).time(NOW)
    pods = [f"orders-us-east-{ordinal}.orders-us-east-peers" for ordinal in (0, 8)]
    suffixes = ("", ".shop", ".shop.svc", f".shop.svc.{domain}")
    for name in ("orders", "orders-us-east", "orders-us-east-peers", *pods):
        for suffix in suffixes:
            builder.build_server_verifier(x509.DNSName(f"{name}{suffix}")).verify(leaf, [])
    for name in ("orders-eu-west", "orders.other", "orders.shop.svc.elsewhere"):
        with pytest.raises(verification.VerificationError):
            builder.build_server_verifier(x509.DNSName(name)).verify(leaf, [])
    short_wildcards = [name for name in request.dns_names if name.startswith("*") and name.count(".") < 2]
    assert short_wildcards == [], "OpenSSL ignores a wildcard with fewer than two dots"
    assert request.common_name == "peer"
    assert set(request.ip_addresses) == {"127.0.0.1", "::1", "10.1.0.7", "10.1.0.8"}


def test_the_spec_adds_names_and_addresses_to_certificates() -> None:
    extra = ("store.example.com", "*.stores.example.com", "192.0.2.7", "2001:db8:0::7")
    request = peer_request(REF, "us-east", ["10.1.0.7"], "cluster.local", extra)
    assert {"store.example.com", "*.stores.example.com"} <= set(request.dns_names)
    assert {"192.0.2.7", "2001:db8::7", "10.1.0.7"} <= set(request.ip_addresses)


def test_an_empty_storage_class_reaches_the_claim() -> None:
    region = replace(SPEC.regions[0], storage_class="")
    (claim,) = stateful_set(REF, SPEC, region, IMAGE)["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == ""


def test_comparison_knows_what_is_ours() -> None:
    desired = with_hash(stateful_set(REF, SPEC, SPEC.regions[0], IMAGE))
    live = json.loads(json.dumps(desired))
    live["status"] = {"replicas": 3}
    live["metadata"]["resourceVersion"] = "7"
    live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    live["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "0.5", "memory": "0.5Gi"}}
    live["spec"]["volumeClaimTemplates"][0]["status"] = {"phase": "Pending"}
    assert change_needed(desired, live) == ""
    live["spec"]["replicas"] = 2
    assert change_needed(desired, live) == "drift"
    live["spec"]["replicas"] = 3
    live["spec"]["selector"]["matchLabels"]["added"] = "x"
    assert change_needed(desired, live) == "drift"
    other = with_hash(stateful_set(REF, SPEC, SPEC.regions[0], ReplicaImage("replica:2")))
    assert change_needed(other, desired) == "update"
    assert covers({}, {"a": None, "b": [], "c": {}, "d": False})
    assert not covers({"list": [1]}, {"list": [1, 2]})


@pytest.mark.parametrize(("drain", "grace", "reported"), [("15s", 60, None), ("0s", 45, 0), ("90s", 135, 90_000)])
def test_a_pod_has_time_to_wait_for_other_regions_and_then_to_stop(
    drain: str, grace: int, reported: int | None
) -> None:
    spec, problems = read_spec(REF, {"regions": [{"name": "us-east"}], "failover": {"drainTimeout": drain}})
    assert spec is not None, problems
    region = spec.regions[0]
    pod = stateful_set(REF, spec, region, IMAGE)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == grace
    text = config_map(REF, spec, region)["data"]["replica.json"]
    assert json.loads(text)["failover"].get("drainTimeoutMs") == reported
    config = parse_config(text.encode())
    assert config.failover.drain_timeout_ms == (15_000 if reported is None else reported)
    assert grace >= config.failover.drain_timeout_ms / 1000 + 45


def with_pods(**options: object) -> dict:  # type: ignore[type-arg]
    """The pod template of a region, for options of ``spec.pods``."""
    spec = replace(SPEC, pods=PodsSpec(**options))  # type: ignore[arg-type]
    template: dict = stateful_set(REF, spec, spec.regions[0], IMAGE)["spec"]["template"]  # type: ignore[type-arg]
    return template


def test_pods_have_what_the_spec_adds() -> None:
    template = with_pods(
        image="registry.example.com/other:2",
        image_pull_policy="Never",
        image_pull_secrets=("registry",),
        priority_class="high",
        labels={"team": "a"},
        annotations={"note": "b"},
        security_context={},
        container_security_context={"readOnlyRootFilesystem": True},
        host_spread="Required",
    )
    pod = template["spec"]
    (container,) = pod["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("registry.example.com/other:2", "Never")
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["priorityClassName"] == "high"
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["annotations"]["note"] == "b"
    assert pod["securityContext"] == {}
    assert container["securityContext"] == {"readOnlyRootFilesystem": True}
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"


def test_pods_of_a_spec_without_options_have_no_fields_for_them() -> None:
    pod = pod_of()
    assert "imagePullSecrets" not in pod
    assert "priorityClassName" not in pod
    assert pod["containers"][0]["image"] == IMAGE.image


def test_the_operators_labels_and_annotations_win() -> None:
    template = with_pods(
        labels={"replicatedstore.io/store": "other"}, annotations={"replicatedstore.io/config-hash": "x"}
    )
    assert template["metadata"]["labels"]["replicatedstore.io/store"] == "orders"
    assert template["metadata"]["annotations"]["replicatedstore.io/config-hash"] != "x"


def rules_by_port(operator: OperatorPods, **options: object) -> dict[int, list]:  # type: ignore[type-arg]
    """The peers of each rule of the policy, by port; [] is everybody."""
    policy = network_policy(REF, replace(SPEC.network_policy, **options), operator)["spec"]
    assert policy["podSelector"] == {"matchLabels": {"replicatedstore.io/store": "orders"}}
    assert policy["policyTypes"] == ["Ingress"]
    peers: dict[int, list] = {}  # type: ignore[type-arg]
    for rule in policy["ingress"]:
        for port in rule["ports"]:
            peers.setdefault(port["port"], []).append(rule.get("from", "everybody"))
    return peers


def test_the_network_policy_lets_in_replicas_the_operator_clients_and_metrics() -> None:
    replicas = [{"podSelector": {"matchLabels": {"replicatedstore.io/store": "orders"}}}]
    operator = OperatorPods("rstore-system", {"app.kubernetes.io/name": "rstore"})
    own = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "rstore-system"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "rstore"}},
    }
    assert rules_by_port(operator) == {2379: [replicas, "everybody"], 2380: [replicas, [own]], 9090: ["everybody"]}
    client, prometheus = {"podSelector": {"matchLabels": {"a": "b"}}}, {"namespaceSelector": {}}
    narrow = rules_by_port(operator, clients=(client,), metrics=(prometheus,))
    assert narrow == {2379: [replicas, [client]], 2380: [replicas, [own]], 9090: [[prometheus]]}


def test_an_operator_outside_the_cluster_is_let_in_from_anywhere() -> None:
    assert rules_by_port(UNKNOWN_PODS)[2380][1] == "everybody"
