"""What the chart makes: names, security, images, probes, and every value in its place."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Helm, Rendered

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "replicated-store-operator"


def environment(rendered: Rendered) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in rendered.container["env"]}


def test_helm_lint_finds_nothing_but_the_missing_icon(helm: Helm) -> None:
    report = helm.ask("lint", {})
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"] if message["severity"] > 1] == []


def test_the_chart_makes_exactly_the_objects_an_operator_needs(default: Rendered) -> None:
    assert sorted(made["kind"] for made in default.objects) == [
        "ClusterRole",
        "ClusterRole",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "CustomResourceDefinition",
        "Deployment",
        "NetworkPolicy",
        "Pod",
        "PodDisruptionBudget",
        "Role",
        "Role",
        "RoleBinding",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    ]


def test_versions_of_chart_app_and_package_are_the_same() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_two_operators_of_which_one_is_always_there(helm: Helm, default: Rendered) -> None:
    spec = default.one("Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    budget = default.one("PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": spec["selector"]}
    alone = helm.render(replicas=1)
    assert alone.one("Deployment")["spec"]["replicas"] == 1
    assert alone.all("PodDisruptionBudget") == [], "it would hold up every drain"
    assert helm.render(podDisruptionBudget={"create": False}).all("PodDisruptionBudget") == []


def test_operators_are_apart_and_leave_a_lost_node_within_seconds(helm: Helm, default: Rendered) -> None:
    terms = default.pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selector = default.one("Deployment")["spec"]["selector"]
    assert all(term["podAffinityTerm"]["labelSelector"] == selector for term in terms)
    weights = {term["podAffinityTerm"]["topologyKey"]: term["weight"] for term in terms}
    region, zone, host = (
        weights[f"{name}"]
        for name in ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "kubernetes.io/hostname")
    )
    assert region > zone + host > zone > host
    for rendered, seconds in ((default, 10), (helm.render(evictAfterSeconds=30), 30)):
        assert [(item["key"], item["effect"], item["tolerationSeconds"]) for item in rendered.pod["tolerations"]] == [
            (f"node.kubernetes.io/{name}", "NoExecute", seconds) for name in ("not-ready", "unreachable")
        ]


def test_the_lease_is_named_after_the_release(helm: Helm, default: Rendered) -> None:
    assert environment(default)["RSTORE_LEASE_NAME"] == "rstore-replicated-store-operator"
    assert environment(helm.render(fullnameOverride="mine"))["RSTORE_LEASE_NAME"] == "mine"


def test_the_pod_passes_the_restricted_pod_security_standard(default: Rendered) -> None:
    pod = default.pod["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert (pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]) == (65532, 65532, 65532)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    container = default.container["securityContext"]
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPath" in volume for volume in default.pod["volumes"])


def test_the_only_writable_place_is_an_empty_dir_at_tmp(default: Rendered) -> None:
    assert default.container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    (volume,) = default.pod["volumes"]
    assert set(volume) == {"name", "emptyDir"}
    assert environment(default)["TMPDIR"] == "/tmp"


def test_probes_ask_on_the_health_port_and_only_readiness_asks_whether_all_is_seen(default: Rendered) -> None:
    assert default.container["ports"] == [{"name": "health", "containerPort": 8080, "protocol": "TCP"}]
    for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/healthz")):
        assert default.container[probe]["httpGet"] == {"path": path, "port": "health"}


def test_the_selector_selects_the_pod(default: Rendered) -> None:
    spec = default.one("Deployment")["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_images_come_from_the_chart_version_unless_said_otherwise(helm: Helm, default: Rendered) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert default.container["image"] == f"replicated-store-operator:{version}"
    assert environment(default)["RSTORE_REPLICA_IMAGE"] == f"replicated-store-replica:{version}"
    other = helm.render(
        imageRegistry="registry.example.com:5000/team/",
        image={"tag": "1.2.3", "pullPolicy": "Always"},
        replicaImage={"repository": "replicas/rstore", "pullPolicy": "Never"},
    )
    assert other.container["image"] == "registry.example.com:5000/team/replicated-store-operator:1.2.3"
    assert other.container["imagePullPolicy"] == "Always"
    assert environment(other)["RSTORE_REPLICA_IMAGE"] == f"registry.example.com:5000/team/replicas/rstore:{version}"
    assert environment(other)["RSTORE_REPLICA_IMAGE_PULL_POLICY"] == "Never"


def test_the_cluster_domain_reaches_the_operator(helm: Helm, default: Rendered) -> None:
    assert environment(default)["RSTORE_CLUSTER_DOMAIN"] == "cluster.local"
    assert environment(helm.render(clusterDomain="k8s.example"))["RSTORE_CLUSTER_DOMAIN"] == "k8s.example"


def test_stores_policies_let_in_the_pods_of_this_release(default: Rendered) -> None:
    values = environment(default)
    assert values["RSTORE_OPERATOR_NAMESPACE"] == "rstore-system"
    labels = dict(pair.split("=") for pair in values["RSTORE_OPERATOR_LABELS"].split(","))
    assert labels.items() <= default.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()


def test_the_time_of_clients_reaches_the_operator(helm: Helm, default: Rendered) -> None:
    """A number in YAML is a float for Helm: 604800 must not become 6.048e+05."""
    assert environment(default)["RSTORE_AUTHORITY_TRANSITION_SECONDS"] == "604800"
    a_day = environment(helm.render(authorityTransitionSeconds=86400))
    assert a_day["RSTORE_AUTHORITY_TRANSITION_SECONDS"] == "86400"


def test_scheduling_resources_and_extra_environment_reach_the_pod(helm: Helm) -> None:
    rendered = helm.render(
        nodeSelector={"kubernetes.io/os": "linux"},
        tolerations=[{"key": "control", "operator": "Exists", "effect": "NoSchedule"}],
        affinity={"nodeAffinity": {}},
        priorityClassName="system-cluster-critical",
        imagePullSecrets=[{"name": "registry"}],
        resources={"requests": {"cpu": "1"}},
        extraEnv=[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        podAnnotations={"a": "b"},
        podLabels={"c": "d"},
        logLevel="debug",
    )
    pod = rendered.pod
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod["tolerations"][2:] == [{"key": "control", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["affinity"] == {"nodeAffinity": {}}
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert rendered.container["resources"]["requests"]["cpu"] == "1"
    assert environment(rendered)["HTTPS_PROXY"] == "http://proxy:3128"
    assert environment(rendered)["RSTORE_LOG_LEVEL"] == "debug"
    template = rendered.one("Deployment")["spec"]["template"]["metadata"]
    assert template["annotations"] == {"a": "b"}
    assert template["labels"]["c"] == "d"


def test_the_service_account_can_be_brought_along(helm: Helm) -> None:
    rendered = helm.render(serviceAccount={"create": False, "name": "mine"})
    assert rendered.all("ServiceAccount") == []
    assert rendered.pod["serviceAccountName"] == "mine"
    assert rendered.one("ClusterRoleBinding")["subjects"] == [
        {"kind": "ServiceAccount", "name": "mine", "namespace": "rstore-system"}
    ]


def test_without_rbac_the_chart_makes_no_role(helm: Helm) -> None:
    kinds = {made["kind"] for made in helm.render(rbac={"create": False, "aggregateClusterRoles": False}).objects}
    assert not [kind for kind in kinds if "Role" in kind]


def test_watched_namespaces_reach_the_operator(default: Rendered, namespaced: Rendered) -> None:
    assert environment(default)["RSTORE_WATCH_NAMESPACES"] == ""
    assert environment(namespaced)["RSTORE_WATCH_NAMESPACES"] == "team-a,team-b"


def test_notes_say_what_to_type_next(default: Rendered, namespaced: Rendered) -> None:
    assert "kubectl -n rstore-system rollout status deployment/rstore-replicated-store-operator" in default.notes
    assert "kubectl apply -f examples/three-regions.yaml" in default.notes
    assert "kubectl apply -n team-a -f examples/three-regions.yaml" in namespaced.notes
    for line in default.notes.splitlines():
        for path in (word for word in line.split() if word.startswith(("examples/", "charts/"))):
            assert (ROOT / path).exists(), f"the notes name {path}, which does not exist"


def test_the_crds_are_the_source_files_byte_for_byte(helm: Helm) -> None:
    assert helm.ask("crds", {}) == [], "Helm never upgrades what is in crds"
    definitions = {made["metadata"]["name"]: made for made in helm.render().all("CustomResourceDefinition")}
    sources = sorted((ROOT / "crds").glob("*.yaml"))
    assert len(definitions) == len(sources) == 2
    for source in sources:
        assert (CHART / "files" / source.name).read_bytes() == source.read_bytes(), "run make generate"
        definition = definitions[f"{source.stem}.replicatedstore.io"]
        assert definition == yaml.safe_load(source.read_bytes())
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert helm.render(crds={"create": False}).all("CustomResourceDefinition") == []


@pytest.mark.skipif(shutil.which("helm") is None, reason="there is no helm binary here; the library is used instead")
def test_the_helm_binary_renders_the_same_objects(namespaced: Rendered) -> None:
    done = subprocess.run(
        [
            "helm",
            "template",
            "rstore",
            str(CHART),
            "--namespace=rstore-system",
            "--set=watchNamespaces={team-a,team-b}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    def key(made: dict[str, Any]) -> tuple[str, str, str]:
        return made["kind"], made["metadata"].get("namespace", ""), made["metadata"]["name"]

    objects = [made for made in yaml.safe_load_all(done.stdout) if made is not None]
    assert sorted(objects, key=key) == sorted(namespaced.objects, key=key)


def test_the_service_and_the_policy_are_about_the_operators_pods(default: Rendered) -> None:
    labels = default.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    service, policy = default.one("Service")["spec"], default.one("NetworkPolicy")["spec"]
    assert service["selector"].items() <= labels.items()
    assert [port["targetPort"] for port in service["ports"]] == ["health"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [{"ports": [{"port": "health", "protocol": "TCP"}]}]


def test_the_pod_of_helm_test_asks_the_service_and_is_no_operator(helm: Helm, default: Rendered) -> None:
    pod = default.one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    selector = default.one("Deployment")["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    service = default.one("Service")["metadata"]["name"]
    assert container["command"][-1] == f"http://{service}.rstore-system.svc:8080/healthz"
    compile(container["command"][-2], "helm test", "exec")
    narrow = helm.render(networkPolicy={"create": True, "from": [{"namespaceSelector": {}}]})
    tester, other = narrow.one("NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert tester["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert other == {"namespaceSelector": {}}


def test_annotations_for_all_are_on_all_and_give_way_to_an_objects_own(helm: Helm) -> None:
    rendered = helm.render(
        commonAnnotations={"team": "a", "own": "common"},
        serviceAccount={"annotations": {"own": "account"}},
        podAnnotations={"own": "pod"},
    )
    for made in rendered.objects:
        if made["kind"] not in ("CustomResourceDefinition", "Pod"):
            assert made["metadata"]["annotations"]["team"] == "a", made["kind"]
    assert rendered.one("ServiceAccount")["metadata"]["annotations"]["own"] == "account"
    template = rendered.one("Deployment")["spec"]["template"]["metadata"]
    assert template["annotations"] == {"team": "a", "own": "pod"}


def test_the_hosts_network_comes_with_its_dns(helm: Helm, default: Rendered) -> None:
    assert not {"hostNetwork", "dnsPolicy"} & default.pod.keys()
    pod = helm.render(hostNetwork=True).pod
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert helm.render(dnsPolicy="Default").pod["dnsPolicy"] == "Default"


class Healthy(BaseHTTPRequestHandler):
    """An operator's port; what it answers is the class's."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(b'{"problems": []}')

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


def test_the_program_of_helm_test_waits_for_an_operator_that_answers(default: Rendered) -> None:
    (container,) = default.one("Pod")["spec"]["containers"]
    _, *arguments, _ = container["command"]
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        command = [sys.executable, *arguments]
        done = subprocess.run([*command, f"{url}/healthz"], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (0, '{"problems": []}\n'), done.stderr
        hurried = [argument.replace("+ 60", "+ 2") for argument in command]
        done = subprocess.run([*hurried, f"{url}/other"], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert "no operator is ready: HTTP Error 404" in done.stderr
        server.shutdown()
