"""Each alert fires when it should and stays silent when all is well, as Prometheus itself evaluates it (promtool)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart.conftest import CHART

RULES = CHART / "files" / "alerts.yaml"
ALERTS = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
STORE = 'namespace="shop", store="orders"'
LEADER = 'namespace="shop", pod="orders-us-east-0"'
OPERATOR = 'namespace="rstore-system", pod="operator-0"'
STEADY = "x240"
LOST_PRIMARIES = 'rstore_operator_primary_changes_total{trigger="PrimaryLost", mode="Automatic", outcome="Succeeded"}'

Series = dict[str, str]


def condition(kind: str, value: int) -> Series:
    return {f'rstore_operator_store_condition{{{STORE}, condition="{kind}"}}': f"{value}{STEADY}"}


def gauge(name: str, labels: str, value: float) -> Series:
    return {f"{name}{{{labels}}}": f"{value}{STEADY}"}


OPERATOR_ACTS = {
    **gauge("rstore_operator_leading", OPERATOR, 1),
    **gauge("rstore_operator_leading", OPERATOR.replace("-0", "-1"), 0),
}
HEALTHY: Series = {
    **OPERATOR_ACTS,
    **condition("Ready", 1),
    **condition("FailoverBlocked", 0),
    **condition("RolloutBlocked", 0),
    **condition("Diverged", 0),
    **condition("BackupHealthy", 1),
    **gauge("rstore_operator_backup_suspended", STORE, 0),
    **gauge("rstore_operator_backup_lag_seconds", STORE, 3),
    **gauge("rstore_operator_backup_base_late", STORE, 0),
    **gauge("rstore_operator_backup_drill_failed", STORE, 0),
    **gauge("rstore_operator_primary_changing", STORE, 0),
    **gauge("rstore_operator_region_connected", STORE + ', region="eu-west"', 1),
    **gauge("rstore_operator_region_ready_replicas", STORE + ', region="eu-west"', 3),
    **gauge("rstore_operator_region_replicas", STORE + ', region="eu-west"', 3),
    **gauge("rstore_operator_store_unobserved_seconds", STORE, 2),
    **gauge("rstore_operator_certificate_expiry_timestamp_seconds", STORE + ', secret="a"', 120 * 86400),
    **gauge("rstore_operator_watches_out_of_step", OPERATOR, 0),
    LOST_PRIMARIES: f"0{STEADY}",
    'rstore_operator_primary_changes_total{trigger="Spec", mode="Planned", outcome="Succeeded"}': "0x10 1x230",
    "rstore_operator_revisions_lost_total": f"0{STEADY}",
    f'rstore_operator_reconciles_total{{{OPERATOR}, outcome="failed"}}': f"0{STEADY}",
    f'rstore_operator_reconciles_total{{{OPERATOR}, outcome="done"}}': "0+30x240",
    **gauge("rstore_tenure_held", LEADER, 1),
    **gauge("rstore_writable", LEADER, 1),
    **gauge("rstore_is_leader", LEADER, 1),
    **gauge("rstore_tenure_held", LEADER.replace("-0", "-1"), 0),
    **gauge("rstore_writable", LEADER.replace("-0", "-1"), 1),
    **gauge("rstore_is_leader", LEADER.replace("-0", "-1"), 0),
    **gauge("rstore_region_lag_seconds", LEADER + ', to_region="eu-west"', 0.01),
    **gauge("rstore_semi_sync_degraded", LEADER, 0),
    **gauge("rstore_quarantined_tails", LEADER, 0),
    **gauge("etcd_mvcc_db_total_size_in_use_in_bytes", LEADER, 4e9),
    **gauge("etcd_server_quota_backend_bytes", LEADER, 8e9),
    **gauge("rstore_disk_free_bytes", LEADER, 5e9),
    **gauge("rstore_disk_size_bytes", LEADER, 1e10),
    **gauge("rstore_event_loop_lag_max_seconds", LEADER, 0.01),
}
FIRING: dict[str, Series] = {
    "RStoreNotReady": condition("Ready", -1),
    "RStoreNoTenure": gauge("rstore_tenure_held", LEADER, 0),
    "RStoreFailoverBlocked": condition("FailoverBlocked", 1),
    "RStorePrimaryChangeStuck": gauge("rstore_operator_primary_changing", STORE, 1),
    "RStorePrimaryLost": {LOST_PRIMARIES: "0x90 1x150"},
    "RStoreRevisionsLost": {"rstore_operator_revisions_lost_total": "0x90 5x150"},
    "RStoreRegionNotConnected": gauge("rstore_operator_region_connected", STORE + ', region="eu-west"', 0),
    "RStoreRegionBehind": gauge("rstore_region_lag_seconds", LEADER + ', to_region="eu-west"', 60),
    "RStoreSemiSyncDegraded": gauge("rstore_semi_sync_degraded", LEADER, 1),
    "RStoreReplicaNotReady": gauge("rstore_operator_region_ready_replicas", STORE + ', region="eu-west"', 2),
    "RStoreRolloutBlocked": condition("RolloutBlocked", 1),
    "RStoreDataDiverged": condition("Diverged", 1),
    "RStoreWritesInQuarantine": gauge("rstore_quarantined_tails", LEADER, 1),
    "RStoreBackupFailing": condition("BackupHealthy", -1),
    "RStoreBackupBehind": gauge("rstore_operator_backup_lag_seconds", STORE, 400),
    "RStoreBackupLogLost": {f"rstore_operator_backup_log_lost{{{STORE}}}": "0x90 1x150"},
    "RStoreBackupBaseLate": gauge("rstore_operator_backup_base_late", STORE, 1),
    "RStoreBackupDrillFailed": gauge("rstore_operator_backup_drill_failed", STORE, 1),
    "RStoreQuotaNearlyUsed": gauge("etcd_mvcc_db_total_size_in_use_in_bytes", LEADER, 7e9),
    "RStoreDiskNearlyFull": gauge("rstore_disk_free_bytes", LEADER, 5e8),
    "RStoreReplicaSlow": gauge("rstore_event_loop_lag_max_seconds", LEADER, 0.5),
    "RStoreCertificateNotRenewed": gauge(
        "rstore_operator_certificate_expiry_timestamp_seconds", STORE + ', secret="a"', 20 * 86400
    ),
    "RStoreOperatorMissing": gauge("rstore_operator_leading", OPERATOR, 0),
    "RStoreNotObserved": gauge("rstore_operator_store_unobserved_seconds", STORE, 90),
    "RStoreOperatorBlind": gauge("rstore_operator_watches_out_of_step", OPERATOR, 1),
    "RStoreOperatorFails": {f'rstore_operator_reconciles_total{{{OPERATOR}, outcome="failed"}}': "0+6x240"},
}
"""What differs from the healthy state, by the alert that it makes fire."""
AT = "100m"
"""When it is looked; series have a sample a minute, and of counters the event is ten minutes before."""


@dataclass(frozen=True)
class Case:
    """An alert that fires, or does not, when these series are scraped."""

    alert: str
    series: Series
    fires: bool

    def as_test(self) -> dict[str, Any]:
        """Returns the case as promtool takes it."""
        query = f'count(ALERTS{{alertname="{self.alert}", alertstate="firing"}}) > 0'
        samples: list[dict[str, Any]] = [{"labels": "{}", "value": 1}] if self.fires else []
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "promql_expr_test": [{"expr": f"({query}) / ({query})", "eval_time": AT, "exp_samples": samples}],
        }


def disagreement(directory: Path, cases: list[Case]) -> str:
    """Returns what promtool says if a case is not so; "" if all are."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    tests = [case.as_test() for case in cases]
    file = directory / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": tests}))
    command = [promtool, "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_alert_has_a_state_in_which_it_fires() -> None:
    assert sorted(FIRING) == sorted(ALERTS)


def test_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    cases = [Case(alert, {**HEALTHY, **FIRING[alert]}, fires=True) for alert in ALERTS]
    without_operators = {name: values for name, values in HEALTHY.items() if "rstore_operator_" not in name}
    cases.append(Case("RStoreOperatorMissing", without_operators, fires=True))
    assert disagreement(tmp_path, cases) == ""


def test_no_alert_fires_while_all_is_well(tmp_path: Path) -> None:
    assert disagreement(tmp_path, [Case(alert, HEALTHY, fires=False) for alert in ALERTS]) == ""


def test_what_is_over_before_its_time_alerts_nobody(tmp_path: Path) -> None:
    """A pod that restarts is not ready for a minute, in a rollout: that is no reason to wake somebody."""
    name = next(iter(FIRING["RStoreReplicaNotReady"]))
    assert (
        disagreement(tmp_path, [Case("RStoreReplicaNotReady", {**HEALTHY, name: "3x95 2x1 3x100"}, fires=False)]) == ""
    )


def test_the_reader_of_these_tests_notices_an_alert_that_does_not_fire(tmp_path: Path) -> None:
    assert "RStoreNotReady" in disagreement(tmp_path, [Case("RStoreNotReady", HEALTHY, fires=True)])
