"""From the raw spec to the parsed one: defaults, and every error at once."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain.access import Access, AccessRules, ClientRule, SharedClient
from rstore_operator.resource.client_endpoint import host_of
from rstore_operator.resource.model import FailoverSpec, RegionSpec, ReplicationSpec, StoreRef
from rstore_operator.resource.parse import DEFAULT_REQUESTS, parse_spec
from rstore_operator.resource.units import format_lag, format_time, parse_duration_ms, parse_quantity, parse_time
from rstore_operator.resource.validate import read_spec
from unit.operator.resource.test_crd import SCHEMA, nodes

REF = StoreRef("default", "orders", "uid")


def problems(spec: object, name: str = "orders") -> list[str]:
    return [str(problem) for problem in read_spec(StoreRef("default", name, "uid"), spec)[1]]


def test_only_regions_are_required() -> None:
    spec, found = read_spec(REF, {"regions": [{"name": "b"}, {"name": "a"}]})
    assert found == ()
    assert spec is not None
    assert spec.primary_region == "b", "the first one"
    assert spec.regions[0] == RegionSpec("b", requests=DEFAULT_REQUESTS)
    assert spec.replication == ReplicationSpec()
    assert spec.failover == FailoverSpec()
    assert (spec.tls_mode, spec.client_auth, spec.pvc_policy) == ("Managed", "mTLS", "Retain")


def test_everything_can_be_set() -> None:
    spec, found = read_spec(
        REF,
        {
            "primaryRegion": "b",
            "regions": [
                {
                    "name": "a",
                    "replicas": 5,
                    "priority": 1,
                    "placement": {"nodeSelector": {"disk": "fast"}, "tolerations": [{"operator": "Exists"}]},
                    "storage": {"size": "1.5Ti", "storageClassName": "fast"},
                    "resources": {"requests": {"cpu": 1}, "limits": {"cpu": "1500m"}},
                },
                {"name": "b", "placement": {}},
            ],
            "replication": {
                "batchInterval": "2s",
                "maxBatchBytes": "512Ki",
                "window": "1Mi",
                "retention": {"revisions": 5000},
            },
            "failover": {"policy": "Manual", "switchoverTimeout": "1500ms"},
            "limits": {"maxRequestBytes": "2Mi", "maxTxnOps": 512},
            "security": {"clientAuth": "None"},
            "persistence": {"pvcPolicy": "Delete"},
        },
    )
    assert found == ()
    assert spec is not None
    first, second = spec.regions
    assert (first.replicas, first.priority, first.storage_size, first.storage_class) == (5, 1, "1.5Ti", "fast")
    assert first.requests == {"cpu": "1"}
    assert first.placement is not None
    assert first.placement.node_selector == {"disk": "fast"}
    assert second.placement is not None, "given and empty is not the same as not given"
    assert spec.replication.batch_interval_ms == 2000
    assert (spec.replication.max_batch_bytes, spec.replication.window_bytes) == (512 * 1024, 1 << 20)
    assert spec.failover.switchover_timeout_ms == 1500
    assert (spec.limits.max_request_bytes, spec.limits.max_txn_ops) == (2 << 20, 512)
    assert (spec.client_auth, spec.pvc_policy) == ("None", "Delete")


def test_options_of_pods_and_the_network_policy() -> None:
    spec, found = read_spec(
        REF,
        {
            "regions": [{"name": "a"}],
            "pods": {
                "image": "r/x:1",
                "imagePullSecrets": [{"name": "registry"}],
                "labels": {"team": "a"},
                "securityContext": {},
                "hostSpread": "Required",
            },
            "security": {"networkPolicy": {"enabled": False, "clients": [{"podSelector": {}}]}},
        },
    )
    assert found == ()
    assert spec is not None
    pods = spec.pods
    assert (pods.image, pods.image_pull_secrets, pods.labels) == ("r/x:1", ("registry",), {"team": "a"})
    assert pods.security_context == {}, "given and empty is not the same as not given"
    assert pods.container_security_context is None
    assert pods.host_spread == "Required"
    assert not spec.network_policy.enabled
    assert spec.network_policy.clients == ({"podSelector": {}},)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"regions": [{"name": "a"}], "pods": {"labels": {"app.kubernetes.io/name": "x"}}},
            "spec.pods.labels.app.kubernetes.io/name: labels of replicatedstore.io/ and app.kubernetes.io/ are",
        ),
        ({"regions": [{"name": "a"}], "pods": {"annotations": {"a": 1}}}, "spec.pods.annotations.a: must be a string"),
        ({"regions": [{"name": "a"}], "pods": {"imagePullSecrets": [{}]}}, "spec.pods.imagePullSecrets[0].name: must"),
        (
            {"regions": [{"name": "a"}], "pods": {"hostSpread": "Sometimes"}},
            "spec.pods.hostSpread: must be one of Preferred, Required",
        ),
        (
            {"regions": [{"name": "a"}], "security": {"networkPolicy": {"enabled": "no"}}},
            "spec.security.networkPolicy.enabled: must be true or false",
        ),
        (None, "spec.regions: must list at least one region"),
        ({"regions": "many"}, "spec.regions: must list at least one region"),
        ({"regions": [{"replicas": 1}]}, "spec.regions[0].name: must be a non-empty string"),
        ({"regions": [{"name": "a"}, {"name": "a"}]}, "spec.regions[1].name: there is already a region 'a'"),
        ({"regions": [{"name": "A_b"}]}, "spec.regions[0].name: 'A_b' is not a DNS label"),
        ({"regions": [{"name": "a", "replicas": 0}]}, "spec.regions[0].replicas: must be from 1 to 9, not 0"),
        ({"regions": [{"name": "a", "replicas": 10}]}, "must be from 1 to 9, not 10"),
        ({"regions": [{"name": "a", "replicas": True}]}, "must be a whole number"),
        ({"regions": [{"name": "a"}], "primaryRegion": "b"}, "spec.primaryRegion: 'b' is none of the regions (a)"),
        (
            {"regions": [{"name": "a", "placement": {"nodeSelector": ["disk"]}}]},
            "spec.regions[0].placement.nodeSelector: must be an object",
        ),
        ({"regions": [{"name": "a", "storage": {"size": "ten"}}]}, "spec.regions[0].storage.size: 'ten' is not a quan"),
        ({"regions": [{"name": "a", "storage": {"size": "0"}}]}, "spec.regions[0].storage.size: must be more than"),
        (
            {"regions": [{"name": "a", "resources": {"requests": {"cpu": "x"}}}]},
            "spec.regions[0].resources.requests.cpu: 'x' is not a quantity",
        ),
        (
            {"regions": [{"name": "a", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}}]},
            "spec.regions[0].resources.requests.cpu: 2 is more than the limit, 1500m",
        ),
        (
            {
                "regions": [
                    {
                        "name": "a",
                        "resources": {
                            "requests": {"cpu": "500m", "memory": "512Mi"},
                            "limits": {"memory": "256Mi"},
                        },
                    }
                ]
            },
            "requests.memory: 512Mi is more than the limit, 256Mi; earlier versions wrote that request as a default",
        ),
        ({"regions": [{"name": "a", "cluster": {}}]}, "spec.regions[0].cluster: regions in other Kubernetes clusters"),
        ({"regions": [{"name": f"r{i}"} for i in range(10)]}, "spec.regions: must list at most 9 regions"),
        ({"regions": [{"name": "a" * 45}]}, "is longer than 50 characters"),
        ({"regions": [{"name": "a"}, {"name": "a-peers"}]}, "the name of 'a-peers''s Service is taken"),
        (
            {"regions": [{"name": "a"}], "replication": {"batchInterval": "soon"}},
            "spec.replication.batchInterval: 'soon' is not a duration",
        ),
        ({"regions": [{"name": "a"}], "replication": {"batchInterval": "11s"}}, "must be from 1ms to 10s"),
        (
            {"regions": [{"name": "a"}], "replication": {"maxBatchBytes": "2Mi", "window": "1Mi"}},
            "spec.replication.maxBatchBytes: must not be larger than window",
        ),
        (
            {"regions": [{"name": "a"}, {"name": "b"}], "replication": {"mode": "SemiSync", "minInSyncRegions": 2}},
            "spec.replication.minInSyncRegions: must be lower",
        ),
        ({"regions": [{"name": "a"}], "replication": {"semiSyncTimeout": "50ms"}}, "must be from 100ms to 60s"),
        ({"regions": [{"name": "a"}], "replication": {"onTimeout": "Ignore"}}, "must be one of Fail, Degrade"),
        (
            {"regions": [{"name": "a"}], "security": {"tls": {"mode": "Secret"}}},
            "spec.security.tls.mode: Secret is not supported by this version",
        ),
        ({"regions": [{"name": "a"}], "failover": {"policy": "Never"}}, "spec.failover.policy: must be one of"),
        ({"regions": [{"name": "a"}], "failover": []}, "spec.failover: must be an object"),
        ({"regions": [{"name": "a", "placement": {"tolerations": 3}}]}, "tolerations: must be a list of objects"),
    ],
)
def test_what_is_wrong_is_reported_with_the_field(spec: object, expected: str) -> None:
    parsed, _ = read_spec(REF, spec)
    assert parsed is None
    assert any(expected in problem for problem in problems(spec)), problems(spec)


@pytest.mark.parametrize(
    ("resources", "requests", "limits"),
    [
        (None, DEFAULT_REQUESTS, None),
        ({}, DEFAULT_REQUESTS, None),
        ({"limits": {}}, DEFAULT_REQUESTS, {}),
        ({"requests": {}}, {}, None),
        (
            {"limits": {"cpu": "250m", "memory": "256Mi"}},
            {"cpu": "250m", "memory": "256Mi"},
            {"cpu": "250m", "memory": "256Mi"},
        ),
        ({"limits": {"memory": "256Mi"}}, {"memory": "256Mi"}, {"memory": "256Mi"}),
        ({"requests": {}, "limits": {"memory": "256Mi"}}, {"memory": "256Mi"}, {"memory": "256Mi"}),
        (
            {"requests": {"cpu": "1"}, "limits": {"cpu": 2, "memory": "1Gi"}},
            {"cpu": "1", "memory": "1Gi"},
            {"cpu": "2", "memory": "1Gi"},
        ),
        ({"requests": dict(DEFAULT_REQUESTS)}, DEFAULT_REQUESTS, None),
        (
            {"requests": dict(DEFAULT_REQUESTS), "limits": {"memory": "1Gi"}},
            DEFAULT_REQUESTS,
            {"memory": "1Gi"},
        ),
    ],
)
def test_requests_follow_limits(resources: object, requests: object, limits: object) -> None:
    region = {"name": "a"} if resources is None else {"name": "a", "resources": resources}
    spec, found = read_spec(REF, {"regions": [region]})
    assert found == ()
    assert spec is not None
    assert (spec.regions[0].requests, spec.regions[0].limits) == (requests, limits)


@pytest.mark.parametrize(
    ("storage", "expected"),
    [({}, None), ({"storageClassName": ""}, ""), ({"storageClassName": "fast"}, "fast")],
)
def test_an_empty_storage_class_is_a_value(storage: object, expected: str | None) -> None:
    spec, found = read_spec(REF, {"regions": [{"name": "a", "storage": storage}]})
    assert found == ()
    assert spec is not None
    assert spec.regions[0].storage_class == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        "*.",
        "a..b",
        "-a",
        "UPPER.example",
        "10.0.0.300",
        "a.*.example",
        "x" * 64,
        ["a"] * 33,
        7,
        "a b",
        "1.2.3",
    ],
)
def test_wrong_alternative_names_are_refused(name: object) -> None:
    listed = name if isinstance(name, list) else [name]
    spec = {"regions": [{"name": "a"}], "security": {"tls": {"subjectAltNames": listed}}}
    assert any("spec.security.tls.subjectAltNames" in problem for problem in problems(spec))


def test_alternative_names_are_names_and_addresses() -> None:
    listed = ["store.example.com", "*.example.com", "node", "192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"]
    spec, found = read_spec(REF, {"regions": [{"name": "a"}], "security": {"tls": {"subjectAltNames": listed}}})
    assert found == ()
    assert spec is not None
    assert spec.subject_alt_names == tuple(listed)
    names = next(schema for path, schema in nodes(SCHEMA) if path.endswith("subjectAltNames[]"))
    assert all(re.search(names["pattern"], name) for name in listed), "what the operator takes the schema lets through"


ENDPOINTS = {
    "rs-{ordinal}.eu.example.com:2379": ("rs-2.eu.example.com:2379", "rs-2.eu.example.com"),
    "lb.example.com:443": ("lb.example.com:443", "lb.example.com"),
    "lb:6552{ordinal}": ("lb:65522", "lb"),
    "192.0.2.1{ordinal}:2379": ("192.0.2.12:2379", "192.0.2.12"),
    "[2001:DB8:0:0::7]:2379": ("[2001:db8::7]:2379", "2001:db8::7"),
    "[2001:db8::{ordinal}]:1": ("[2001:db8::2]:1", "2001:db8::2"),
}
"""What of an entry becomes the address and the host of the replica with the ordinal 2."""


def schemas_rule(field: str) -> str:
    """The expression that the schema's rule about a text of the field matches it with."""
    schema = next(schema for path, schema in nodes(SCHEMA) if path.endswith(field))
    [rule] = schema["x-kubernetes-validations"]
    return rule["rule"].removeprefix("self.matches('").removesuffix("')").replace("\\\\", "\\")


@pytest.mark.parametrize("text", ENDPOINTS)
def test_client_endpoints_are_addresses_of_each_replica_or_of_all(text: str) -> None:
    spec, found = read_spec(REF, {"regions": [{"name": "a", "clientEndpoints": [text]}]})
    assert found == ()
    assert spec is not None
    [endpoint] = spec.regions[0].client_endpoints
    address = endpoint.address(2)
    assert (address, host_of(address)) == ENDPOINTS[text]
    assert host_of(address) in endpoint.hosts()
    assert re.search(schemas_rule("clientEndpoints[]"), text), "what the operator takes the schema lets through"


@pytest.mark.parametrize(
    ("text", "reason", "seen_by_schema"),
    [
        ("", "host:port", True),
        (7, "host:port", False),
        ("a" * 300 + ":1", "at most 300 characters", False),
        ("orders", "is not host:port", True),
        (":2379", "is not host:port", True),
        ("https://orders.example.com:2379", "is not host:port", True),
        ("orders.example.com:2379/path", "the port must be", True),
        ("2001:db8::7:2379", "is not host:port", True),
        ("orders.example.com:0", "the port must be from 1 to 65535", True),
        ("orders.example.com:02379", "the port must be", True),
        ("orders.example.com:65536", "the port must be", True),
        ("orders.example.com:6553{ordinal}", "the port must be", True),
        ("orders.example.com:{ordinal}", "the port must be", True),
        ("orders.example.com:3{ordinal}7", "can only be the last digit", True),
        ("orders.example.com:3{ordinal}{ordinal}", "can only be the last digit", True),
        ("orders-{pod}.example.com:2379", "{ordinal} is the only placeholder", True),
        ("orders-{ordinal.example.com:2379", "{ordinal} is the only placeholder", True),
        ("Orders.example.com:2379", "neither a lower-case DNS name nor", True),
        ("*.example.com:2379", "neither a lower-case DNS name nor", True),
        ("a..b:2379", "neither a lower-case DNS name nor", True),
        ("10.0.0.300:2379", "neither a lower-case DNS name nor", False),
        ("[2001:db8::g]:2379", "is not an IPv6 address", True),
        ("[10.0.0.1]:2379", "is not an IPv6 address", False),
        ("[fe80::1%eth0]:2379", "with a zone", True),
        ("0.0.0.0:2379", "no address of a server", False),
        ("[ff02::1]:2379", "no address of a server", False),
    ],
)
def test_wrong_client_endpoints_are_refused(text: object, reason: str, seen_by_schema: bool) -> None:
    [problem] = problems({"regions": [{"name": "a", "clientEndpoints": [text]}]})
    assert problem.startswith("spec.regions[0].clientEndpoints[0]: ")
    assert reason in problem
    if isinstance(text, str):
        assert bool(re.search(schemas_rule("clientEndpoints[]"), text)) is not seen_by_schema


def test_an_address_belongs_to_one_client_endpoint() -> None:
    regions = [
        {"name": "a", "clientEndpoints": ["a-{ordinal}.example.com:2379", "a-8.example.com:2379"]},
        {"name": "b", "clientEndpoints": ["[2001:db8::1]:2379", "lb.example.com:2379"]},
        {"name": "c", "clientEndpoints": ["[2001:DB8:0::1]:2379", "lb.example.com:2380"]},
    ]
    first, second = problems({"regions": regions})
    place = "spec.regions[0].clientEndpoints"
    assert first == f"{place}[1]: a-8.example.com:2379 is an address of {place}[0] already"
    place, taken = "spec.regions[2].clientEndpoints[0]", "spec.regions[1].clientEndpoints[0]"
    assert second == f"{place}: [2001:db8::1]:2379 is an address of {taken} already"


def test_a_region_has_a_few_client_endpoints_at_most_and_its_certificate_so_many_names() -> None:
    [problem] = problems({"regions": [{"name": "a", "clientEndpoints": [f"a:{port}" for port in range(1, 5)]}]})
    assert problem == "spec.regions[0].clientEndpoints: must be a list of at most 3 addresses"
    [problem] = problems({"regions": [{"name": "a", "clientEndpoints": "a:1"}]})
    assert "must be a list" in problem
    endpoints = [f"{name}-{{ordinal}}.example.com:2379" for name in "abc"]
    for count, accepted in ((5, True), (6, False)):
        listed = [f"store-{at}.example.com" for at in range(count)]
        spec = {
            "regions": [{"name": "a", "clientEndpoints": endpoints}, {"name": "b"}],
            "security": {"tls": {"subjectAltNames": listed}},
        }
        found = problems(spec)
        assert (found == []) is accepted
        assert all("these are 33 names in the certificates of a, at most 32" in problem for problem in found)


def test_clients_and_what_they_may_do() -> None:
    security = {
        "sharedClient": {"mode": "Disabled", "revokedBefore": "2026-01-31T12:00:00Z"},
        "clients": [
            {"name": "shop", "prefixes": ["shop/", "cart/"], "revokedBefore": "2026-01-31T13:00:00.5+01:00"},
            {"name": "report", "access": "Read", "maxRequests": 20},
        ],
    }
    spec, found = read_spec(REF, {"regions": [{"name": "a"}], "security": security})
    assert found == ()
    assert spec is not None
    noon = 1769860800
    assert spec.access == AccessRules(
        shared_client=SharedClient(enabled=False, revoked_before=noon),
        clients=(
            ClientRule(name="shop", prefixes=("shop/", "cart/"), revoked_before=noon + 1),
            ClientRule(name="report", access=Access.READ, max_requests=20),
        ),
    )
    assert AccessRules.decode(spec.access.encode()) == spec.access, "replicas take what the operator takes"


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ({"clients": [{}]}, "spec.security.clients[0].name: '' is not a DNS label"),
        ({"clients": [{"name": "Shop"}]}, "spec.security.clients[0].name: 'Shop' is not a DNS label"),
        ({"clients": [{"name": "a" * 64}]}, "is not a DNS label"),
        ({"clients": [{"name": "peer"}]}, "are reserved for the store's own certificates"),
        ({"clients": [{"name": "a"}, {"name": "a"}]}, "spec.security.clients[1].name: there is already a client 'a'"),
        ({"clients": [{"name": "x"}]}, "would have the name of that of region 'client-x'"),
        (
            {"clients": [{"name": "a", "prefixes": [""]}]},
            "spec.security.clients[0].prefixes[0]: must be a string of 1 to",
        ),
        ({"clients": [{"name": "a", "prefixes": "a"}]}, "spec.security.clients[0].prefixes: must be a list"),
        ({"clients": [{"name": "a", "prefixes": ["p"] * 33}]}, "must be a list of at most 32"),
        ({"clients": [{"name": "a", "access": "Write"}]}, "must be one of Read, ReadWrite, not 'Write'"),
        (
            {"clients": [{"name": "a", "revokedBefore": "now"}]},
            "must be a time such as 2026-01-31T12:00:00Z, not 'now'",
        ),
        ({"clients": [{"name": "a", "maxRequests": 0}]}, "maxRequests: must be from 1 to 16384, not 0"),
        ({"clients": [{"name": f"c{index}"} for index in range(65)]}, "must be a list of at most 64 clients"),
        ({"clientAuth": "None", "clients": [{"name": "a"}]}, "need mTLS"),
        ({"clientAuth": "None", "sharedClient": {"mode": "Disabled"}}, "need mTLS"),
    ],
)
def test_wrong_clients_are_refused(security: object, expected: str) -> None:
    found = problems({"regions": [{"name": "client-x"}], "security": security})
    assert any(expected in problem for problem in found), found


def test_every_error_is_collected() -> None:
    found = problems(
        {
            "primaryRegion": "z",
            "regions": [{"name": "a", "replicas": 0}, {"name": "b", "storage": {"size": "x"}}],
            "failover": {"leaseDuration": 3},
        }
    )
    assert len(found) == 4


@pytest.mark.parametrize("name", ["1orders", "my.store", "Orders"])
def test_store_names_must_do_as_service_names(name: str) -> None:
    assert any("metadata.name" in problem for problem in problems({"regions": [{"name": "a"}]}, name))


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "regions",
                        "name",
                        "replicas",
                        "storage",
                        "size",
                        "placement",
                        "resources",
                        "requests",
                        "replication",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_nonsense_is_answered_never_a_crash(raw: object) -> None:
    spec, found = parse_spec(raw)
    assert spec is not None or found


def test_units() -> None:
    assert parse_quantity("1Ki") == 1024
    assert parse_quantity("500m") == Decimal("0.5")
    assert parse_quantity("1e3") == 1000
    assert parse_quantity(7) == 7
    assert parse_quantity("1.5Gi") == 1536 * 1024 * 1024
    for bad in ("", "Ki", "1KB", "1 Gi", "--1", None, True, "1e999"):
        with pytest.raises(ValueError, match="quantity"):
            parse_quantity(bad)
    assert parse_duration_ms("10ms") == 10
    assert parse_duration_ms("3s") == 3000
    for bad in ("3", "3m", "s", 3, "1.5s"):
        with pytest.raises(ValueError, match="duration"):
            parse_duration_ms(bad)
    assert [format_lag(value) for value in (0, 0.004, 2.5, 180, 7200)] == ["0ms", "4ms", "2.5s", "3m", "2.0h"]
    moment = parse_time("2026-05-04T03:02:01.123456Z")
    assert parse_time(format_time(moment)) == moment
