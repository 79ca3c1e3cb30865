"""``spec.backup``: where a store's archive is, and how it is written; parsed, with what its values must be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rstore_api.domain import limits
from rstore_api.domain.schedule import Schedule

from rstore_operator.resource.reader import Problem, Reader
from rstore_operator.resource.units import parse_period_seconds

_FOLDER = "[-A-Za-z0-9_=][-A-Za-z0-9_.=]*"
DESTINATION = f"(s3|gs|az)://[A-Za-z0-9][-A-Za-z0-9._]{{0,62}}(/{_FOLDER})*/?|file:///({_FOLDER}(/{_FOLDER})*/?)?"
ENDPOINT = r"https?://[-A-Za-z0-9._:\[\]]+(/[-A-Za-z0-9._/]*)?"
DESTINATION_EXAMPLES = "s3://bucket/prefix, gs://…, az://… or file:///folder"
ENDPOINT_EXAMPLE = "https://s3.example.com"
MAX_URL = 512
"""Of a destination or an endpoint, in characters."""
DEFAULT_SCHEDULE = Schedule("0 0 * * *")
DEFAULT_REQUESTS: Mapping[str, str] = {"cpu": "100m", "memory": "256Mi"}
"""What the archiver requests when the spec gives neither requests nor limits."""


@dataclass(frozen=True)
class RetentionSpec:
    """What is kept: whatever one of the two rules keeps, and everything where both are 0."""

    keep_bases: int = 0
    """Newest bases, and the log that follows the oldest of them."""
    keep_for_seconds: int = 0
    """For how long every moment can be restored."""


@dataclass(frozen=True)
class ArchivePlace:
    """Where archives are, and with which rights a pod gets there. A text is "" where nothing was given."""

    destination: str
    volume_claim: str = ""
    """The claim of the volume in which a ``file`` destination is."""
    endpoint: str = ""
    credentials_secret: str = ""
    service_account: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of a volume."""
        return self.destination.startswith("file:")

    @property
    def folder(self) -> str:
        """The path of the folder in the volume, without a slash at its beginning or end."""
        return self.destination.removeprefix("file://").strip("/")


@dataclass(frozen=True)
class BackupSpec(ArchivePlace):
    """The whole of it."""

    schedule: Schedule = DEFAULT_SCHEDULE
    """When a base is made."""
    log_interval_ms: int = limits.LOG_INTERVAL_MS.default
    retention: RetentionSpec = RetentionSpec()
    drill_schedule: Schedule | None = None
    """When the archive is restored to see whether it can be; None: only when that is asked for."""
    source: str = "Secondary"
    """Which regions' replicas are read from, if they answer."""
    suspend: bool = False
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] | None = None


def parse_backup(reader: Reader) -> BackupSpec | None:
    """The parsed ``spec.backup``; None where there is none. Problems go to the reader's list."""
    if reader.raw.get("backup") is None:
        return None
    backup = reader.child("backup")
    requests, most = backup.child("resources").resources(DEFAULT_REQUESTS)
    retention = backup.child("retention")
    spec = BackupSpec(
        destination=read_url(backup, "destination", DESTINATION, DESTINATION_EXAMPLES),
        volume_claim=backup.optional_text("volumeClaim"),
        endpoint=read_url(backup, "endpoint", ENDPOINT, ENDPOINT_EXAMPLE) if "endpoint" in backup.raw else "",
        credentials_secret=backup.optional_text("credentialsSecret"),
        service_account=backup.optional_text("serviceAccountName"),
        schedule=_schedule(backup, DEFAULT_SCHEDULE.text),
        log_interval_ms=backup.duration_ms("logInterval", limits.LOG_INTERVAL_MS),
        retention=RetentionSpec(
            keep_bases=retention.integer("keepBases", limits.KEEP_BASES) if "keepBases" in retention.raw else 0,
            keep_for_seconds=_period(retention, "keepFor"),
        ),
        drill_schedule=_schedule(backup.child("drill"), None) if backup.raw.get("drill") is not None else None,
        source=backup.text("from", BackupSpec.source, choices=("Secondary", "Primary")),
        suspend=backup.truth("suspend", BackupSpec.suspend),
        requests=requests,
        limits=most,
    )
    reader.problems += place_problems("spec.backup", spec)
    return spec


def place_problems(path: str, place: ArchivePlace) -> Iterator[Problem]:
    """What the fields of a place, at that path of the spec, break together."""
    if not place.destination:
        return  # reported where it was read
    if place.is_folder and not place.volume_claim:
        yield Problem(f"{path}.volumeClaim", "must name the claim of the volume that a file destination is in")
    if place.volume_claim and not place.is_folder:
        yield Problem(f"{path}.volumeClaim", "is for a file destination, such as file:///orders")
    if place.endpoint and not place.destination.startswith("s3:"):
        yield Problem(f"{path}.endpoint", "is for destinations of s3")


def read_url(reader: Reader, name: str, pattern: str, example: str) -> str:
    """Returns the URL in a field; "" and a problem where it does not fit the pattern."""
    value = reader.raw.get(name)
    if not isinstance(value, str) or len(value) > MAX_URL or not re.fullmatch(pattern, value):
        reader.problem(name, f"{value!r} is no URL such as {example}")
        return ""
    return value


def _schedule(reader: Reader, default: str | None) -> Schedule:
    """``default`` is what is read where it is absent; None: it must be there."""
    try:
        return Schedule.parse(reader.raw.get("schedule", default))
    except ValueError as error:
        reader.problem("schedule", str(error))
        return DEFAULT_SCHEDULE


def _period(reader: Reader, name: str) -> int:
    """Seconds; 0 where it is absent."""
    if reader.raw.get(name) is None:
        return 0
    try:
        return parse_period_seconds(reader.raw[name])
    except ValueError as error:
        reader.problem(name, str(error))
        return 0
