"""Alerts, dashboard and PodMonitors: they ask for what replicas and operators export, and lead to the runbook."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml
from chart.conftest import CHART, ROOT, Helm
from prometheus_client.parser import text_string_to_metric_families
from rstore_operator.metrics import OperatorMetrics
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.state import BackupBase, BackupStatus, Condition, RegionStatus, StoreStatus
from rstore_operator.specs.certificates import make_authority, new_key
from rstore_operator.specs.secrets import CA_CERT, with_data
from rstore_replica.metrics import RegionLag
from unit.operator.world import START
from unit.project.test_documentation import anchors
from unit.replica.test_etcd_metrics import scraped_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ALERTS = [
    rule for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
MONITORED = {
    "podMonitorEnabled": True,
    "prometheusRule": {"create": True},
    "grafanaDashboard": {"create": True},
}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Every series that replicas and operators export, with its labels."""
    operator = OperatorMetrics("1", lambda: 0.0)
    region = RegionStatus("eu-west", replicas=1)
    condition = Condition("Ready", "True", "r", "m", 1, START)
    authority = with_data({"metadata": {}}, {CA_CERT: make_authority("a", new_key(), START).certificate})
    backup = BackupStatus(last_base=BackupBase(1, START, 1))
    status = StoreStatus(primary_region="us-east", regions=(region,), conditions=(condition,), backup=backup)
    operator.looked(StoreRef("n", "s", "u"), status, {("Secret", "x"): authority})
    operator.stepped("done", 0.1)
    operator.requested("get", "pods", 200, 0.1)
    operator.take_reading()
    series: dict[str, set[str]] = {}
    lag = (RegionLag("eu-west", True, 1, 0, 0, 0.0),)
    for text in (operator.render().decode(), scraped_text(lag)):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                series.setdefault(sample.name, set()).update(sample.labels)
    return series


def selectors(expression: str) -> Iterator[Any]:
    """Every selector of a PromQL expression."""
    plain = re.sub(r"\$__rate_interval", "5m", expression)
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(plain), visit)
    assert found, expression
    yield from found


FROM_PROMETHEUS = {"namespace", "pod", "store", "region", "job", "instance"}
"""Labels that a PodMonitor adds."""


def check(expression: str, exported: dict[str, set[str]]) -> None:
    for selector in selectors(expression):
        assert selector.name in exported, f"{selector.name} is exported by nobody"
        for matcher in selector.matchers.matchers:
            assert matcher.name in exported[selector.name] | FROM_PROMETHEUS, f"{selector.name} has no {matcher.name}"


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_alerts_ask_for_series_that_exist(rule: dict[str, Any], exported: dict[str, set[str]]) -> None:
    check(rule["expr"], exported)
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"].endswith(".")


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_panels_ask_for_series_that_exist(panel: dict[str, Any], exported: dict[str, set[str]]) -> None:
    for target in panel["targets"]:
        check(target["expr"], exported)


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "namespace", "store"}
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, f"{panel['title']} covers another panel"
        cells |= own


def test_every_alert_leads_to_its_section_of_the_runbook(helm: Helm) -> None:
    rules = helm.render(monitoring=MONITORED).one("PrometheusRule")["spec"]["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [rule["alert"] for rule in ALERTS]
    for rule, source in zip(rules, ALERTS, strict=True):
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert anchor in anchors(ROOT / page), f"{page} has no section {anchor}"
        assert (rule["expr"], rule.get("for")) == (source["expr"], source.get("for"))
        assert rule["annotations"]["summary"] == source["annotations"]["summary"]
    elsewhere = helm.render(monitoring={"prometheusRule": {"create": True, "runbook": "https://example.com/rstore"}})
    first = elsewhere.one("PrometheusRule")["spec"]["groups"][0]["rules"][0]
    assert first["annotations"]["runbook_url"] == "https://example.com/rstore#rstorenotready"


def test_the_runbook_describes_no_alert_that_there_is_not() -> None:
    described = re.findall(r"^### (RStore\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert described == [rule["alert"] for rule in ALERTS]


def test_the_dashboard_is_in_a_config_map_that_the_sidecar_loads(helm: Helm) -> None:
    made = helm.render(monitoring=MONITORED).one("ConfigMap")
    assert json.loads(made["data"]["replicated-store.json"]) == DASHBOARD
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_pod_monitors_select_operators_and_replicas(helm: Helm) -> None:
    rendered = helm.render(monitoring=MONITORED)
    operator, replicas = rendered.all("PodMonitor")
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert operator["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert operator["spec"]["podMetricsEndpoints"][0]["port"] in {port["name"] for port in rendered.container["ports"]}
    assert replicas["spec"]["namespaceSelector"] == {"any": True}
    (endpoint,) = replicas["spec"]["podMetricsEndpoints"]
    assert {"store", "region"} <= {item.get("targetLabel") for item in endpoint["relabelings"]}
    assert "job" not in {item.get("targetLabel") for item in endpoint["relabelings"]}
    some = helm.render(
        watchNamespaces=["team-a"], monitoring={"podMonitorEnabled": True, "podMonitorEtcdJob": True}
    ).all("PodMonitor")[1]
    assert some["spec"]["namespaceSelector"] == {"matchNames": ["team-a"]}
    (job,) = [
        item for item in some["spec"]["podMetricsEndpoints"][0]["relabelings"] if item.get("targetLabel") == "job"
    ]
    assert job["replacement"] == "etcd/$1"


def test_nothing_of_it_is_made_unasked(helm: Helm) -> None:
    kinds = {made["kind"] for made in helm.render().objects}
    assert not kinds & {"PodMonitor", "PrometheusRule", "ConfigMap"}
