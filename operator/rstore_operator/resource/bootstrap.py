"""``spec.bootstrap``: the past state with which a new store begins; parsed, with what its values must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rstore_api.domain.limits import PAST_REVISION

from rstore_operator.resource.backup import (
    DESTINATION,
    DESTINATION_EXAMPLES,
    ENDPOINT,
    ENDPOINT_EXAMPLE,
    ArchivePlace,
    place_problems,
    read_url,
)
from rstore_operator.resource.reader import Problem, Reader
from rstore_operator.resource.units import parse_time


@dataclass(frozen=True)
class Moment:
    """Which state. ``revision`` 0 and ``time_ms`` 0: the latest; ``epoch`` 0: on the history of the newest epoch."""

    revision: int = 0
    time_ms: int = 0
    epoch: int = 0


LATEST = Moment()


@dataclass(frozen=True)
class BootstrapSpec:
    """Where the state is. Either ``backup`` names a ReplicatedStoreBackup, or ``place`` is given."""

    backup: str = ""
    place: ArchivePlace | None = None
    source_id: str = ""
    """The id of the store whose archive it is; "": not given."""
    source_name: str = ""
    """The name, or namespace/name, of that store; "": not given."""
    at: Moment = LATEST


def parse_bootstrap(reader: Reader) -> BootstrapSpec | None:
    """The parsed ``spec.bootstrap``; None where there is none. Problems go to the reader's list."""
    if reader.raw.get("bootstrap") is None:
        return None
    source = reader.child("bootstrap").child("from")
    place = None
    if source.raw.get("destination") is not None:
        place = ArchivePlace(
            destination=read_url(source, "destination", DESTINATION, DESTINATION_EXAMPLES),
            volume_claim=source.optional_text("volumeClaim"),
            endpoint=read_url(source, "endpoint", ENDPOINT, ENDPOINT_EXAMPLE) if "endpoint" in source.raw else "",
            credentials_secret=source.optional_text("credentialsSecret"),
            service_account=source.optional_text("serviceAccountName"),
        )
        reader.problems += place_problems("spec.bootstrap.from", place)
    spec = BootstrapSpec(
        backup=source.optional_text("backup"),
        place=place,
        source_id=source.optional_text("storeId"),
        source_name=source.optional_text("store"),
        at=_moment(source.child("at")),
    )
    reader.problems += _relations(source, spec)
    return spec


def _moment(at: Reader) -> Moment:
    given = [name for name in ("revision", "time", "latest") if at.raw.get(name) is not None]
    if len(given) > 1:
        at.problem("", f"must have one of revision, time and latest, not {' and '.join(given)}")
    if "latest" in given and at.raw["latest"] is not True:
        at.problem("latest", "must be true, or not be there")
    time_ms = 0
    if "time" in given:
        try:
            time_ms = max(1, int(parse_time(at.raw["time"]).timestamp() * 1000))
        except ValueError as error:
            at.problem("time", str(error))
    return Moment(_number(at, "revision"), time_ms, _number(at, "epoch"))


def _number(at: Reader, name: str) -> int:
    """0 where it is absent."""
    return at.integer(name, PAST_REVISION) if at.raw.get(name) is not None else PAST_REVISION.default


def _relations(source: Reader, spec: BootstrapSpec) -> Iterator[Problem]:
    path = source.path
    if bool(spec.backup) == (source.raw.get("destination") is not None):
        yield Problem(path, "must have either backup or destination")
    if spec.backup:
        for name in ("volumeClaim", "endpoint", "credentialsSecret", "serviceAccountName", "storeId", "store"):
            if source.raw.get(name) is not None:
                yield Problem(f"{path}.{name}", "is for a destination: the backup says it already")
    if spec.source_id and spec.source_name:
        yield Problem(f"{path}.store", "must not be given beside storeId")
