"""``spec.backup``: defaults, and every value that is refused."""

from __future__ import annotations

from typing import Any

import pytest
from rstore_api.domain.kubernetes import KIND, STORE
from rstore_api.domain.schedule import MAX_LENGTH, PATTERN, Schedule
from rstore_operator.resource.backup import (
    DEFAULT_REQUESTS,
    DEFAULT_SCHEDULE,
    DESTINATION,
    ENDPOINT,
    MAX_URL,
    BackupSpec,
    RetentionSpec,
)
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.units import PERIOD
from rstore_operator.resource.validate import read_spec
from sim.regions.crd import store_problems
from unit.operator.resource.test_crd import SPEC, nodes

REF = StoreRef("default", "orders", "uid")


def read(backup: object) -> tuple[BackupSpec | None, list[str]]:
    spec, problems = read_spec(REF, {"regions": [{"name": "a"}], "backup": backup})
    return (spec.backup if spec is not None else None), [str(problem) for problem in problems]


def test_only_the_destination_is_required() -> None:
    assert read(None) == (None, [])
    backup, problems = read({"destination": "s3://backups/orders"})
    assert problems == []
    assert backup == BackupSpec("s3://backups/orders", requests=DEFAULT_REQUESTS)
    assert backup.schedule == Schedule("0 0 * * *")
    assert (backup.log_interval_ms, backup.source, backup.suspend) == (10_000, "Secondary", False)
    assert backup.retention == RetentionSpec(keep_bases=0, keep_for_seconds=0)


def test_everything_can_be_set() -> None:
    backup, problems = read({
        "destination": "s3://backups/",
        "endpoint": "http://minio.backups.svc:9000",
        "credentialsSecret": "orders-backup",
        "serviceAccountName": "orders-backup",
        "schedule": "*/30 2-4 * * MON-FRI",
        "logInterval": "2500ms",
        "retention": {"keepBases": 3, "keepFor": "30d"},
        "drill": {"schedule": "0 4 * * SUN"},
        "from": "Primary",
        "suspend": True,
        "resources": {"limits": {"memory": "1Gi"}},
    })  # fmt: skip
    assert problems == []
    assert backup == BackupSpec(
        destination="s3://backups/",
        endpoint="http://minio.backups.svc:9000",
        credentials_secret="orders-backup",
        service_account="orders-backup",
        schedule=Schedule("*/30 2-4 * * MON-FRI"),
        log_interval_ms=2500,
        retention=RetentionSpec(3, 30 * 86_400),
        drill_schedule=Schedule("0 4 * * SUN"),
        source="Primary",
        suspend=True,
        requests={"memory": "1Gi"},
        limits={"memory": "1Gi"},
    )


def test_a_folder_is_in_the_volume_of_a_claim() -> None:
    backup, problems = read({"destination": "file:///stores/orders/", "volumeClaim": "backups"})
    assert problems == []
    assert backup is not None
    assert (backup.is_folder, backup.folder, backup.volume_claim) == (True, "stores/orders", "backups")
    root, problems = read({"destination": "file:///", "volumeClaim": "backups"})
    assert root is not None
    assert (root.folder, problems) == ("", [])


BUCKET = "s3://backups/orders"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "spec.backup.destination", "is no URL"),
    ({"destination": ""}, "spec.backup.destination", "is no URL"),
    ({"destination": "s3://"}, "spec.backup.destination", "is no URL"),
    ({"destination": "s3:///orders"}, "spec.backup.destination", "is no URL"),
    ({"destination": "ftp://host/orders"}, "spec.backup.destination", "is no URL"),
    ({"destination": "s3://bucket//orders"}, "spec.backup.destination", "is no URL"),
    ({"destination": "s3://bucket/?x=1"}, "spec.backup.destination", "is no URL"),
    ({"destination": "file://", "volumeClaim": "x"}, "spec.backup.destination", "is no URL"),
    ({"destination": "file:///a/../b", "volumeClaim": "x"}, "spec.backup.destination", "is no URL"),
    ({"destination": "file:///.hidden", "volumeClaim": "x"}, "spec.backup.destination", "is no URL"),
    ({"destination": "file://host/a", "volumeClaim": "x"}, "spec.backup.destination", "is no URL"),
    ({"destination": "s3://b/" + "a" * 512}, "spec.backup.destination", "is no URL"),
    ({"destination": "file:///a"}, "spec.backup.volumeClaim", "must name the claim"),
    ({"destination": BUCKET, "volumeClaim": "x"}, "spec.backup.volumeClaim", "is for a file destination"),
    ({"destination": "gs://b/a", "endpoint": "http://x"}, "spec.backup.endpoint", "is for destinations of s3"),
    ({"destination": BUCKET, "endpoint": "minio:9000"}, "spec.backup.endpoint", "is no URL"),
    ({"destination": BUCKET, "schedule": "@daily"}, "spec.backup.schedule", "is not a schedule"),
    ({"destination": BUCKET, "schedule": "0 0 30 2 *"}, "spec.backup.schedule", "is not a schedule"),
    ({"destination": BUCKET, "drill": {}}, "spec.backup.drill.schedule", "is not a schedule"),
    ({"destination": BUCKET, "drill": {"schedule": "daily"}}, "spec.backup.drill.schedule", "is not a schedule"),
    ({"destination": BUCKET, "logInterval": "10ms"}, "spec.backup.logInterval", "must be from 1s to 3600s"),
    ({"destination": BUCKET, "retention": {"keepBases": 0}}, "spec.backup.retention.keepBases", "must be from 1"),
    ({"destination": BUCKET, "retention": {"keepFor": "30"}}, "spec.backup.retention.keepFor", "is not a period"),
    ({"destination": BUCKET, "retention": {"keepFor": "0d"}}, "spec.backup.retention.keepFor", "is not a period"),
    ({"destination": BUCKET, "from": "Tertiary"}, "spec.backup.from", "must be one of Secondary, Primary"),
    ({"destination": BUCKET, "suspend": "no"}, "spec.backup.suspend", "must be true or false"),
    ({"destination": BUCKET, "credentialsSecret": 5}, "spec.backup.credentialsSecret", "must be a non-empty string"),
    (
        {"destination": BUCKET, "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
        "spec.backup.resources.requests.cpu",
        "2 is more than the limit, 1",
    ),
]


@pytest.mark.parametrize(("backup", "where", "why"), REFUSED)
def test_what_is_wrong_is_refused_once_and_says_where(backup: dict[str, Any], where: str, why: str) -> None:
    spec, problems = read(backup)
    assert spec is None
    [problem] = problems
    assert problem.startswith(f"{where}: ")
    assert why in problem


SEEN_BY_THE_OPERATOR_ONLY = (
    "0 0 30 2 *",  # a day that never comes
    "5-3 * * * *",
)


def refused_at_apply(backup: object) -> str:
    """What the API server says, by the definition of the kind."""
    spec = {"regions": [{"name": "a", "replicas": 1, "placement": {}}], "backup": backup}
    body = {"apiVersion": STORE.api_version, "kind": KIND, "metadata": {"name": "orders"}, "spec": spec}
    return "; ".join(store_problems(body, None))


@pytest.mark.parametrize(("backup", "where", "_why"), REFUSED)
def test_what_the_operator_refuses_is_refused_at_apply(backup: dict[str, Any], where: str, _why: str) -> None:
    refused = refused_at_apply(backup)
    if backup.get("schedule") in SEEN_BY_THE_OPERATOR_ONLY or "resources" in backup:
        assert refused == ""
    else:
        assert where.rpartition(".")[2] in refused


ACCEPTED: list[dict[str, Any]] = [
    {"destination": "s3://b"},
    {"destination": "s3://My.bucket_1/a/b.c/d=1/"},
    {"destination": "gs://bucket/"},
    {"destination": "az://container/prefix"},
    {"destination": "file:///", "volumeClaim": "x"},
    {"destination": "file:///a/b", "volumeClaim": "x"},
    {"destination": BUCKET, "endpoint": "https://[fd00::1]:9000/s3"},
    *({"destination": BUCKET, "schedule": text} for text in (
        "* * * * *", "0 3 * * *", "*/15  0-5 1,15 JAN-mar 1-5", "59 23 31 12 7", "5/10 00 01 01 sun",
    )),
    {"destination": BUCKET, "logInterval": "1s"},
    {"destination": BUCKET, "logInterval": "3600000ms"},
    {"destination": BUCKET, "retention": {"keepBases": 1, "keepFor": "99999h"}},
]  # fmt: skip


@pytest.mark.parametrize("backup", ACCEPTED)
def test_what_may_be_written_is_accepted_by_both(backup: dict[str, Any]) -> None:
    assert read(backup)[1] == []
    assert refused_at_apply(backup) == ""


def test_the_patterns_of_the_schema_are_the_codes() -> None:
    fields = {path.lstrip("."): schema for path, schema in nodes(SPEC["properties"]["backup"])}

    def rule(field: str) -> str:
        [rule] = fields[field]["x-kubernetes-validations"]
        text: str = rule["rule"]
        return text.replace("\\\\", "\\")

    assert rule("destination") == f"self.matches('^({DESTINATION})$')"
    assert rule("endpoint") == f"self.matches('^{ENDPOINT}$')"
    assert rule("schedule") == rule("drill.schedule") == f"self.matches('^{PATTERN}$')"
    assert fields["retention.keepFor"]["pattern"] == f"^{PERIOD}$"
    assert fields["schedule"]["default"] == DEFAULT_SCHEDULE.text
    assert (fields["destination"]["maxLength"], fields["schedule"]["maxLength"]) == (MAX_URL, MAX_LENGTH)
    assert fields["drill.schedule"]["maxLength"] == MAX_LENGTH


def test_a_region_must_not_have_the_archivers_name() -> None:
    _, problems = read_spec(REF, {"regions": [{"name": "archiver"}]})
    assert [problem.field for problem in problems] == ["spec.regions[0].name"]
