"""What the API server would refuse of the store object and of Events: the embedded API server's rules."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import msgspec
import yaml
from localkube.apiserver.kinds.strategy import KindStrategy
from localkube.apiserver.resources import Registry, Resource
from localkube.apiserver.schema.crd import resources_of
from localkube.apiserver.schema.provider import Schemas
from localkube.apiserver.schema.pruning import prune
from localkube.apiserver.schema.structural import validate
from rstore_api.domain.kubernetes import KIND, STORE

CRD = Path(__file__).resolve().parents[3] / "crds" / "replicatedstores.yaml"
MAX_REASON_LENGTH = 128

Body = dict[str, Any]


@functools.cache
def _schemas() -> tuple[Schemas, Resource, Resource]:
    definition = yaml.safe_load(CRD.read_text())
    return Schemas(), resources_of(definition)[0], Registry().by_key("events")


def status_problems(status: Body) -> list[str]:
    """Why this status would be refused, and what of it would be dropped silently."""
    return [problem for name, value in status.items() for problem in _field_problems(name, msgspec.json.encode(value))]


@functools.lru_cache(maxsize=4096)
def _field_problems(name: str, value: bytes) -> tuple[str, ...]:
    """Those of one field: most stay as they are from one status to the next, and none depends on another."""
    schemas, store, _ = _schemas()
    node = schemas.node(store).field("status")
    assert node is not None
    status = {name: msgspec.json.decode(value)}
    found = [str(cause) for cause in validate(node, status, "status", root=False)]
    dropped = prune(node, status, "status", root=False)
    return (*found, *(f"{path} is not in the schema" for path in dropped))


def store_problems(body: Body, before: Body | None) -> list[str]:
    """Why an object, new where ``before`` is None, would be refused by its schema and by its rules."""
    schemas, store, _ = _schemas()
    whole = {"apiVersion": STORE.api_version, "kind": KIND, **copy.deepcopy(body)}
    old = {"apiVersion": STORE.api_version, "kind": KIND, **copy.deepcopy(before)} if before is not None else None
    strategy = KindStrategy(schemas)
    dropped = prune(schemas.node(store), copy.deepcopy(whole))
    for one in (whole, old):
        if one is not None:
            strategy.prepare(store, one, None, dry_run=False)
    found = [str(cause) for cause in strategy.validate(store, whole, old)]
    return [*found, *(f"{path} is not in the schema" for path in dropped)]


def event_problems(event: Body) -> list[str]:
    """Why an Event that the operator posts would be refused."""
    schemas, _, events = _schemas()
    found = [str(cause) for cause in KindStrategy(schemas).validate(events, event, None)]
    found += [f"{path} is not in the schema" for path in prune(schemas.node(events), copy.deepcopy(event))]
    reason = event["reason"]
    if not 0 < len(reason) <= MAX_REASON_LENGTH or not reason.isalnum():
        found.append(f"reason {reason!r} is not one word of at most {MAX_REASON_LENGTH} characters")
    return found
