"""The CRD: what people read in it, its defaults against the code's, and limits that keep its rules cheap."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rstore_api.domain import limits
from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_api.domain.limits import Bounds
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.state import Outcome, Phase, Step, Trigger
from rstore_operator.resource.units import parse_duration_ms, parse_quantity
from rstore_operator.resource.validate import read_spec
from rstore_operator.specs.configmap import replica_config
from rstore_replica.config import parse_config
from unit.operator.world import World, begin_and_hold_back

DURATION = "^[0-9]+(ms|s)$"
ROOT = Path(__file__).parents[4]
CRD = yaml.safe_load((ROOT / "crds" / "replicatedstores.yaml").read_text())
VERSION = CRD["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]
STATUS = SCHEMA["properties"]["status"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], f"{path}[]")


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """Defaulting as the API server does it."""
    if isinstance(value, dict):
        for name, child in schema.get("properties", {}).items():
            if name not in value and "default" in child:
                value[name] = yaml.safe_load(yaml.safe_dump(child["default"]))
            if name in value:
                value[name] = with_defaults(child, value[name])
    if isinstance(value, list):
        return [with_defaults(schema["items"], item) for item in value]
    return value


def test_names_are_the_contract() -> None:
    names = CRD["spec"]["names"]
    assert CRD["metadata"]["name"] == "replicatedstores.replicatedstore.io"
    assert (names["kind"], names["plural"], names["shortNames"]) == ("ReplicatedStore", "replicatedstores", ["rstore"])
    assert CRD["spec"]["scope"] == "Namespaced"
    assert VERSION["subresources"] == {"status": {}}
    columns = {column["name"].upper(): column.get("priority", 0) for column in VERSION["additionalPrinterColumns"]}
    assert [name for name, priority in columns.items() if not priority] == [
        "PRIMARY", "EPOCH", "REGIONS", "READY", "LAG", "PHASE", "AGE",
    ]  # fmt: skip
    assert [name for name, priority in columns.items() if priority] == ["VERSION", "LEVEL", "PRIMARY SINCE"]
    assert SPEC["required"] == ["regions"]


@pytest.mark.parametrize(
    ("path", "schema"), list(nodes(SCHEMA)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_field_says_what_it_is(path: str, schema: dict[str, Any]) -> None:
    if path == ".metadata":
        return
    assert schema.get("description"), path
    assert schema.get("type"), path


def test_the_schema_says_nothing_about_metadata_but_its_type() -> None:
    """The API server refuses a definition that describes `metadata` further than its name and generateName."""
    assert SCHEMA["properties"]["metadata"] == {"type": "object"}


def test_defaults_are_the_codes() -> None:
    raw: dict[str, Any] = {"regions": [{"name": "a"}, {"name": "b"}]}
    ref = StoreRef("default", "orders", "uid")
    bare, problems = read_spec(ref, {"regions": [{"name": "a"}, {"name": "b"}]})
    assert problems == ()
    defaulted, problems = read_spec(ref, with_defaults(SPEC, raw))
    assert problems == ()
    assert defaulted == bare


def test_what_rules_look_at_is_bounded() -> None:
    """The API server estimates a rule's cost from these limits, and refuses a CRD whose rules could be too dear."""
    for path, schema in nodes(SPEC):
        if schema["type"] == "array":
            assert "maxItems" in schema, path
        if schema["type"] == "string" and "x-kubernetes-validations" in schema:
            assert "maxLength" in schema, path
        if schema["type"] == "object" and "additionalProperties" in schema:
            assert "maxProperties" in schema, path
    assert SPEC["properties"]["regions"]["items"]["properties"]["name"]["maxLength"] <= 50


def test_every_rule_has_a_message_for_people() -> None:
    rules = [rule for _, schema in nodes(SCHEMA) for rule in schema.get("x-kubernetes-validations", [])]
    assert len(rules) >= 12
    assert all(rule.get("message") for rule in rules)


def test_regions_are_a_map_by_name() -> None:
    regions = SPEC["properties"]["regions"]
    assert regions["x-kubernetes-list-type"] == "map"
    assert regions["x-kubernetes-list-map-keys"] == ["name"]
    assert (regions["minItems"], regions["maxItems"]) == (1, 9)
    replicas = regions["items"]["properties"]["replicas"]
    assert (replicas["minimum"], replicas["maximum"], replicas["default"]) == (1, 9, 3)


def test_what_this_version_cannot_do_is_not_offered_silently() -> None:
    assert "cluster" not in SPEC["properties"]["regions"]["items"]["properties"]
    schema = SPEC
    for part in ("security", "tls", "mode"):
        schema = schema["properties"][part]
    assert "not supported by this version" in schema["description"]


def problems_of(value: Any, schema: dict[str, Any], path: str = "status") -> list[str]:
    """What of a value is not in the schema (it would be pruned) or against it."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    if not isinstance(value, kinds[schema["type"]]):
        return [f"{path}: {value!r} is no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value!r} is none of {schema['enum']}"]
    found = []
    if isinstance(value, dict):
        for name, item in value.items():
            child = schema.get("properties", {}).get(name)
            found += [f"{path}.{name} is unknown"] if child is None else problems_of(item, child, f"{path}.{name}")
        found += [f"{path}.{name} is missing" for name in schema.get("required", []) if name not in value]
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += problems_of(item, schema["items"], f"{path}[{index}]")
    return found


def test_every_status_that_is_written_fits_the_schema() -> None:
    world = World()
    world.settle()
    assert problems_of(world.status, STATUS) == []
    begin_and_hold_back(world, "eu-west")
    for _ in range(5):
        world.step(seconds=8)
        assert problems_of(world.status, STATUS) == []
    world.settle()
    world.annotations[FAILOVER_TO] = "mars"
    world.settle()
    assert problems_of(world.status, STATUS) == []
    world.spec = {"regions": []}
    world.settle()
    assert problems_of(world.status, STATUS) == []


def test_enumerations_are_the_codes() -> None:
    properties = STATUS["properties"]
    assert set(properties["phase"]["enum"]) == {phase.value for phase in Phase}
    intent = properties["failover"]["properties"]
    assert set(intent["step"]["enum"]) == {step.value for step in Step}
    assert set(intent["trigger"]["enum"]) == {trigger.value for trigger in Trigger}
    receipt = properties["history"]["items"]["properties"]
    assert set(receipt["outcome"]["enum"]) == {outcome.value for outcome in Outcome}


EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.yaml")) if "kind: ReplicatedStore" in path.read_text()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    [document] = [each for each in documents if each["kind"] == "ReplicatedStore"]
    ref = StoreRef("default", document["metadata"]["name"], "uid")
    spec, problems = read_spec(ref, with_defaults(SPEC, document["spec"]))
    assert problems == ()
    assert spec is not None
    assert re.fullmatch(r"[a-z][-a-z0-9]*", document["metadata"]["name"])


BOUNDS = {
    "regions[].replicas": limits.REPLICAS,
    "regions[].priority": limits.PRIORITY,
    "replication.minInSyncRegions": limits.MIN_IN_SYNC_REGIONS,
    "replication.semiSyncTimeout": limits.SEMI_SYNC_TIMEOUT_MS,
    "replication.batchInterval": limits.BATCH_INTERVAL_MS,
    "replication.maxBatchBytes": limits.MAX_BATCH_BYTES,
    "replication.window": limits.WINDOW_BYTES,
    "replication.retention.revisions": limits.RETENTION_REVISIONS,
    "limits.maxRequestBytes": limits.MAX_REQUEST_BYTES,
    "limits.maxTxnOps": limits.MAX_TXN_OPS,
    "failover.leaseDuration": limits.LEASE_DURATION_MS,
    "failover.failoverDelay": limits.FAILOVER_DELAY_MS,
    "failover.switchoverTimeout": limits.SWITCHOVER_TIMEOUT_MS,
    "failover.drainTimeout": limits.DRAIN_TIMEOUT_MS,
    "failover.requestTimeout": limits.REQUEST_TIMEOUT_MS,
    "backup.logInterval": limits.LOG_INTERVAL_MS,
}
IN_REPLICA_JSON = {
    "replication.batchIntervalMs": "replication.batchInterval",
    "replication.maxBatchBytes": "replication.maxBatchBytes",
    "replication.windowBytes": "replication.window",
    "replication.retentionRevisions": "replication.retention.revisions",
    "limits.maxRequestBytes": "limits.maxRequestBytes",
    "limits.maxTxnOps": "limits.maxTxnOps",
    "failover.leaseDurationMs": "failover.leaseDuration",
    "failover.drainTimeoutMs": "failover.drainTimeout",
}


def number(text: Any) -> int:
    """The number that a value of the schema stands for: milliseconds of a duration, or bytes."""
    if isinstance(text, int):
        return text
    return parse_duration_ms(text) if text.endswith("s") else int(parse_quantity(text))


def bounds_in_schema(schema: dict[str, Any]) -> Bounds:
    """The default and the bounds that a field's schema states, in its keywords or in its rule."""
    if "minimum" in schema:
        return Bounds(schema["default"], schema["minimum"], schema["maximum"])
    [rule] = [rule["rule"] for rule in schema["x-kubernetes-validations"]]
    stated = re.findall(r"(?:duration|quantity)\('([^']+)'\)", rule)
    low = number(stated[0]) if len(stated) == 2 else 0
    return Bounds(number(schema["default"]), low, number(stated[-1]))


def test_bounds_are_those_of_the_one_table() -> None:
    fields = {path.lstrip("."): schema for path, schema in nodes(SPEC)}
    assert {path: bounds_in_schema(fields[path]) for path in BOUNDS} == BOUNDS
    assert fields["regions"]["maxItems"] == limits.MAX_REGIONS
    assert fields["security.tls.subjectAltNames"]["maxItems"] == limits.MAX_ALTERNATIVE_NAMES
    endpoints = fields["regions[].clientEndpoints"]
    assert endpoints["maxItems"] == limits.MAX_CLIENT_ENDPOINTS
    assert endpoints["items"]["maxLength"] == limits.MAX_CLIENT_ENDPOINT_LENGTH
    clients = fields["security.clients"]
    client = clients["items"]["properties"]
    assert clients["maxItems"] == limits.MAX_CLIENTS
    assert client["prefixes"]["maxItems"] == limits.MAX_PREFIXES
    assert client["prefixes"]["items"]["maxLength"] == limits.MAX_PREFIX_LENGTH
    bases = fields["backup.retention.keepBases"]
    assert (bases["minimum"], bases["maximum"]) == (limits.KEEP_BASES.low, limits.KEEP_BASES.high)
    requests = limits.CLIENT_REQUESTS
    assert (client["maxRequests"]["minimum"], client["maxRequests"]["maximum"]) == (requests.low, requests.high)
    for name in ("revision", "epoch"):
        past = fields[f"bootstrap.from.at.{name}"]
        assert (past["minimum"], past["maximum"]) == (limits.PAST_REVISION.low, limits.PAST_REVISION.high)
    numeric = {path for path, schema in fields.items() if "minimum" in schema or schema.get("pattern") == DURATION}
    numeric -= {"security.clients[].maxRequests"}  # without a default: as much as all have together
    numeric -= {"backup.retention.keepBases"}  # without a default: all
    numeric -= {"bootstrap.from.at.revision", "bootstrap.from.at.epoch"}  # without a default: the latest
    assert numeric <= BOUNDS.keys(), "each number and duration of the spec is in the table"


@pytest.mark.parametrize("path", BOUNDS)
def test_the_parser_takes_what_the_schema_takes(path: str) -> None:
    low, high = BOUNDS[path].low, BOUNDS[path].high
    unit = "ms" if path.endswith(("Timeout", "Interval", "Duration", "Delay")) else ""
    for value, accepted in ((low, True), (high, True), (low - 1, False), (high + 1, False)):
        given: Any = f"{value}{unit}" if unit else value
        regions: list[dict[str, Any]] = [{"name": f"r{at}"} for at in range(limits.MAX_REGIONS)]
        spec: dict[str, Any] = {"regions": regions, "replication": {"window": "1Gi", "maxBatchBytes": "1Ki"}}
        spec |= {"backup": {"destination": "s3://backups/orders"}} if path.startswith("backup.") else {}
        holder = regions[0] if path.startswith("regions[].") else spec
        *parents, name = path.removeprefix("regions[].").split(".")
        for parent in parents:
            holder = holder.setdefault(parent, {})
        holder[name] = given
        _, problems = read_spec(StoreRef("default", "orders", "uid"), spec)
        assert (problems == ()) is accepted, (path, given, problems)


def test_replica_json_has_the_defaults_of_the_spec_and_takes_all_of_its_values() -> None:
    ref = StoreRef("default", "orders", "uid")
    spec, _ = read_spec(ref, {"regions": [{"name": "a"}]})
    assert spec is not None
    written = replica_config(ref, spec, spec.regions[0])
    bare = {key: written[key] for key in ("store", "namespace", "region", "members")}
    assert parse_config(json.dumps(bare).encode()) == parse_config(json.dumps(written).encode())
    for where, path in IN_REPLICA_JSON.items():
        section, name = where.split(".")
        for value in (BOUNDS[path].low, BOUNDS[path].high):
            changed = copy.deepcopy(written)
            changed["replication"]["windowBytes"] = limits.WINDOW_BYTES.high
            changed["replication"]["maxBatchBytes"] = limits.MAX_BATCH_BYTES.low
            changed[section][name] = value
            parse_config(json.dumps(changed).encode())
