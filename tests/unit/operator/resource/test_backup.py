"""``spec.backup``: defaults, and every value that is refused."""

from __future__ import annotations

from typing import Any

import pytest
from rstore_api.domain.schedule import Schedule
from rstore_operator.resource.backup import DEFAULT_REQUESTS, BackupSpec, RetentionSpec
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.validate import read_spec

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
    ({"destination": "file:///a/../b", "volumeClaim": "x"}, "spec.backup.destination", "is no URL"),
    ({"destination": "file:///.hidden", "volumeClaim": "x"}, "spec.backup.destination", "is no URL"),
    ({"destination": "file://host/a", "volumeClaim": "x"}, "spec.backup.destination", "is no URL"),
    ({"destination": "s3://b/" + "a" * 512}, "spec.backup.destination", "is no URL"),
    ({"destination": "file:///a"}, "spec.backup.volumeClaim", "must name the claim"),
    ({"destination": BUCKET, "volumeClaim": "x"}, "spec.backup.volumeClaim", "is for a file destination"),
    ({"destination": "gs://b/a", "endpoint": "http://x"}, "spec.backup.endpoint", "is for destinations of s3 and az"),
    ({"destination": BUCKET, "endpoint": "minio:9000"}, "spec.backup.endpoint", "is no URL"),
    ({"destination": BUCKET, "schedule": "@daily"}, "spec.backup.schedule", "is not a schedule"),
    ({"destination": BUCKET, "schedule": "0 0 30 2 *"}, "spec.backup.schedule", "is not a schedule"),
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


def test_a_region_must_not_have_the_archivers_name() -> None:
    _, problems = read_spec(REF, {"regions": [{"name": "archiver"}]})
    assert [problem.field for problem in problems] == ["spec.regions[0].name"]
