"""``spec.bootstrap``: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rstore_operator.resource.backup import ArchivePlace
from rstore_operator.resource.bootstrap import BootstrapSpec, Moment
from rstore_operator.resource.validate import read_spec
from unit.operator.world import REF

REGIONS: dict[str, Any] = {"regions": [{"name": "us-east"}]}


def read(source: Any, **spec: Any) -> tuple[BootstrapSpec | None, list[str]]:
    parsed, problems = read_spec(REF, {**REGIONS, "bootstrap": {"from": source}, **spec})
    return parsed.bootstrap if parsed is not None else None, [str(problem) for problem in problems]


def test_a_store_begins_with_nothing_by_default() -> None:
    spec, problems = read_spec(REF, REGIONS)
    assert problems == ()
    assert spec is not None
    assert spec.bootstrap is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"backup": "before-upgrade"}, BootstrapSpec(backup="before-upgrade")),
        (
            {
                "destination": "s3://b/p",
                "endpoint": "http://minio:9000",
                "credentialsSecret": "keys",
                "store": "orders",
            },
            BootstrapSpec(
                place=ArchivePlace("s3://b/p", "", "http://minio:9000", "keys"), source_name="orders", at=Moment()
            ),
        ),
        (
            {"destination": "file:///x", "volumeClaim": "c", "storeId": "id", "at": {"revision": 7, "epoch": 2}},
            BootstrapSpec(place=ArchivePlace("file:///x", "c"), source_id="id", at=Moment(7, 0, 2)),
        ),
        (
            {"destination": "gs://b", "serviceAccountName": "sa", "at": {"time": "1970-01-01T01:00:01+01:00"}},
            BootstrapSpec(place=ArchivePlace("gs://b", service_account="sa"), at=Moment(time_ms=1000)),
        ),
        ({"backup": "b", "at": {"latest": True}}, BootstrapSpec(backup="b")),
    ],
)
def test_it_is_read(source: dict[str, Any], expected: BootstrapSpec) -> None:
    assert read(source) == (expected, [])


@pytest.mark.parametrize(
    ("source", "spec", "problem"),
    [
        ({}, {}, "spec.bootstrap.from: must have either backup or destination"),
        ({"backup": "b", "destination": "s3://b"}, {}, "must have either backup or destination"),
        ("nonsense", {}, "spec.bootstrap.from: must be an object"),
        ({"backup": "b", "endpoint": "http://x"}, {}, "spec.bootstrap.from.endpoint: is for a destination"),
        ({"backup": "b", "storeId": "x"}, {}, "spec.bootstrap.from.storeId: is for a destination"),
        ({"destination": "ftp://b"}, {}, "spec.bootstrap.from.destination: 'ftp://b' is no URL"),
        ({"destination": "file:///x"}, {}, "spec.bootstrap.from.volumeClaim: must name the claim"),
        ({"destination": "s3://b", "volumeClaim": "c"}, {}, "spec.bootstrap.from.volumeClaim: is for a file"),
        ({"destination": "gs://b", "endpoint": "http://x"}, {}, "spec.bootstrap.from.endpoint: is for destinations"),
        ({"destination": "s3://b", "store": "a", "storeId": "b"}, {}, "store: must not be given beside storeId"),
        ({"backup": "b", "at": {"revision": 1, "latest": True}}, {}, "at: must have one of revision, time and latest"),
        ({"backup": "b", "at": {"revision": 0}}, {}, "at.revision: must be from 1 to"),
        ({"backup": "b", "at": {"time": "yesterday"}}, {}, "spec.bootstrap.from.at.time: Invalid isoformat"),
        ({"backup": "b", "at": {"latest": False}}, {}, "at.latest: must be true"),
        ({"backup": "b"}, {"security": {"clientAuth": "None"}}, "spec.bootstrap: needs clientAuth mTLS"),
        ({"backup": "b"}, {"regions": [{"name": "restorer"}]}, "a region must not be called restorer"),
    ],
)
def test_what_makes_no_sense_is_refused(source: Any, spec: dict[str, Any], problem: str) -> None:
    _, problems = read(source, **spec)
    assert any(problem in text for text in problems), problems


def test_the_example_is_one() -> None:
    path = Path(__file__).resolve().parents[4] / "examples" / "restored.yaml"
    spec, problems = read_spec(REF, yaml.safe_load(path.read_text())["spec"])
    assert problems == ()
    assert spec is not None
    assert spec.bootstrap is not None
    assert spec.bootstrap.at.time_ms == 1_795_951_800_000
