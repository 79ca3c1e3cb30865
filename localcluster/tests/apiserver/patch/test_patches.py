"""Patches: server-side apply with ownership, strategic merge, JSON patch and merge patch."""

from __future__ import annotations

from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.apiserver.patch.apply import server_side_apply
from localkube.apiserver.patch.fields import from_fields_v1, to_fields_v1
from localkube.apiserver.patch.json_patch import json_patch
from localkube.apiserver.patch.last_applied import ANNOTATION
from localkube.apiserver.patch.managed import MAX_UPDATERS, Writer, keep_times, track_update
from localkube.apiserver.patch.merge import merge_patch
from localkube.apiserver.patch.strategic import strategic_merge
from localkube.apiserver.patch.typed import check_typed
from localkube.apiserver.resources import Registry
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.provider import Schemas

DEPLOYMENT = Schemas().node(Registry().by_key("deployments.apps"))
SERVICE = Schemas().node(Registry().by_key("services"))


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {**spec, "template": {"spec": {"containers": list(containers)}}},
    }


def apply(live: dict[str, Any] | None, wanted: dict[str, Any], manager: str, **more: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"force": False, "now": "2026-01-01T00:00:00Z", **more}
    writer = Writer(manager, "apps/v1", now=options.pop("now"), ignored=frozenset({("f:status",)}))
    return server_side_apply(DEPLOYMENT, live, wanted, writer, **options)


def containers(obj: dict[str, Any]) -> Any:
    return obj["spec"]["template"]["spec"]["containers"]


def owners(obj: dict[str, Any]) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_two_managers_share_an_object_by_fields() -> None:
    live = apply(None, deployment({"name": "a", "image": "x:1"}, replicas=1), "one")
    live = apply(live, deployment({"name": "a", "env": [{"name": "E", "value": "1"}]}, paused=True), "two")
    assert containers(live) == [{"name": "a", "image": "x:1", "env": [{"name": "E", "value": "1"}]}]
    assert live["spec"]["replicas"] == 1
    assert owners(live)["two"]["f:spec"]["f:paused"] == {}


def test_a_field_of_another_manager_conflicts_and_names_it() -> None:
    live = apply(None, deployment({"name": "a", "image": "x:1"}), "one")
    with pytest.raises(ApiError) as caught:
        apply(live, deployment({"name": "a", "image": "x:2"}), "two")
    assert caught.value.code == 409
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "one": .spec.template.spec.containers[name="a"].image'
    )
    assert caught.value.details["causes"][0]["reason"] == "FieldManagerConflict"


def test_force_takes_the_field_over() -> None:
    live = apply(None, deployment({"name": "a", "image": "x:1"}), "one")
    live = apply(live, deployment({"name": "a", "image": "x:2"}), "two", force=True)
    assert containers(live)[0]["image"] == "x:2"
    key = 'k:{"name":"a"}'
    owned = {
        name: fields["f:spec"]["f:template"]["f:spec"]["f:containers"][key] for name, fields in owners(live).items()
    }
    assert "f:image" in owned["two"]
    assert "f:image" not in owned["one"]


def test_what_is_no_longer_applied_is_removed_unless_another_owns_it() -> None:
    live = apply(None, deployment({"name": "a", "image": "x"}, {"name": "b", "image": "y"}, replicas=1), "one")
    live = apply(live, deployment({"name": "b", "image": "y"}), "two")
    live = apply(live, deployment({"name": "a", "image": "x"}), "one")
    assert [item["name"] for item in containers(live)] == ["a", "b"]
    assert "replicas" not in live["spec"]
    live = apply(live, deployment(), "two")
    assert [item["name"] for item in containers(live)] == ["a"]


def test_applying_again_changes_nothing_not_even_the_time() -> None:
    wanted = deployment({"name": "a", "image": "x", "ports": [{"containerPort": 80}]}, replicas=2)
    live = apply(None, wanted, "one")
    containers(live)[0]["ports"][0]["protocol"] = "TCP"
    assert apply(live, wanted, "one", now="2026-02-02T00:00:00Z") == live


def test_an_update_takes_ownership_away_from_an_applier() -> None:
    live = apply(None, deployment({"name": "a", "image": "x"}, replicas=1), "one")
    changed = deployment({"name": "a", "image": "x"}, replicas=5)
    changed["metadata"]["managedFields"] = live["metadata"]["managedFields"]
    track_update(DEPLOYMENT, changed, live, Writer("kubectl", "apps/v1", now="2026-01-02T00:00:00Z"))
    assert owners(changed)["kubectl"] == {"f:spec": {"f:replicas": {}}}
    with pytest.raises(ApiError, match=r'conflict with "kubectl" using apps/v1: .spec.replicas'):
        apply(changed, deployment({"name": "a", "image": "x"}, replicas=1), "one")


CUSTOM = Node(
    {
        "type": "object",
        "properties": {
            "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "properties": {
                    "color": {"type": "string"},
                    "note": {"type": "string", "nullable": True},
                    "env": {"type": "object", "additionalProperties": {"type": "string"}},
                    "unit": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}},
                        "x-kubernetes-map-type": "atomic",
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "steps": {"type": "array", "items": {"type": "string"}},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "ports": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "properties": {"name": {"type": "string"}, "number": {"type": "integer"}},
                        },
                    },
                },
            },
        },
    }
)


def custom(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": spec}


def apply_custom(live: dict[str, Any] | None, manager: str, force: bool = False, **spec: Any) -> dict[str, Any]:
    return server_side_apply(
        CUSTOM, live, custom(**spec), Writer(manager, "v1", now="2026-01-01T00:00:00Z"), force=force
    )


@pytest.mark.parametrize(
    ("spec", "applied", "updated"),
    [
        ({"color": "red"}, {"f:color": {}}, {".": {}, "f:color": {}}),
        ({"env": {"a": "1"}}, {"f:env": {"f:a": {}}}, {".": {}, "f:env": {".": {}, "f:a": {}}}),
        ({"env": {}}, {"f:env": {}}, {".": {}, "f:env": {}}),
        ({"unit": {"a": "1"}}, {"f:unit": {}}, {".": {}, "f:unit": {}}),
        ({"steps": ["a"]}, {"f:steps": {}}, {".": {}, "f:steps": {}}),
        ({"tags": ["a"]}, {"f:tags": {'v:"a"': {}}}, {".": {}, "f:tags": {".": {}, 'v:"a"': {}}}),
        (
            {"ports": [{"name": "x", "number": 1}]},
            {"f:ports": {'k:{"name":"x"}': {".": {}, "f:name": {}, "f:number": {}}}},
            {".": {}, "f:ports": {".": {}, 'k:{"name":"x"}': {".": {}, "f:name": {}, "f:number": {}}}},
        ),
        (
            {"free": {"a": {"b": [1]}}},
            {"f:free": {"f:a": {".": {}, "f:b": {}}}},
            {".": {}, "f:free": {".": {}, "f:a": {".": {}, "f:b": {}}}},
        ),
        ({"note": None}, {"f:note": {}}, {".": {}, "f:note": {}}),
    ],
)
def test_what_a_manager_owns_that_applies_or_that_updates(spec: Any, applied: Any, updated: Any) -> None:
    assert owners(apply_custom(None, "m", **spec))["m"] == {"f:spec": applied}
    made = custom(**spec)
    track_update(CUSTOM, made, None, Writer("m", "v1", now="2026-01-01T00:00:00Z"))
    assert owners(made)["m"] == {"f:spec": updated}


@pytest.mark.parametrize(
    ("live", "wanted", "merged"),
    [
        ("ab", "ba", "ba"),
        ("abc", "cx", "abcx"),
        ("abc", "xa", "xabc"),
        ("abc", "ca", "bca"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
        ("abcd", "dxb", "acdxb"),
    ],
)
def test_a_list_is_merged_in_the_order_applied(live: str, wanted: str, merged: str) -> None:
    made = apply_custom(custom(tags=list(live)), "m", tags=list(wanted))
    assert "".join(made["spec"]["tags"]) == merged


def test_a_manager_that_only_joins_a_value_has_no_time_until_it_changes_one() -> None:
    live = apply_custom(None, "one", color="red")
    live = apply_custom(live, "two", color="red")
    times = {entry["manager"]: entry.get("time") for entry in live["metadata"]["managedFields"]}
    assert times == {"one": "2026-01-01T00:00:00Z", "two": None}
    live = apply_custom(live, "two", color="red", env={"a": "1"})
    assert all(entry.get("time") for entry in live["metadata"]["managedFields"])


def test_null_is_owned_and_leaves_maps_alone() -> None:
    live = apply_custom(None, "one", env={"a": "1"}, note="x")
    live = apply_custom(live, "two", env=None)
    assert live["spec"]["env"] == {"a": "1"}
    assert owners(live)["two"] == {"f:spec": {"f:env": {}}}
    assert apply_custom(live, "two", force=True, note=None)["spec"]["note"] is None


def test_what_nobody_owned_belongs_to_before_first_apply() -> None:
    with pytest.raises(ApiError, match=r'conflict with "before-first-apply" using v1: .spec.color'):
        apply_custom(custom(color="red"), "one", color="blue")
    unowned = custom(color="red")
    track_update(CUSTOM, unowned, custom(color="blue"), Writer("m", "v1", now="2026-01-01T00:00:00Z"))
    assert "managedFields" not in unowned["metadata"]


@pytest.mark.parametrize(
    ("given", "managers"),
    [
        ([{}], set()),
        ([], {"one"}),
        (None, {"one"}),
        ([{"manager": "x", "operation": "Nonsense"}], {"one"}),
        (
            [
                {
                    "manager": "x",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:a": {}},
                }
            ],
            {"x"},
        ),
    ],
)
def test_a_client_may_write_managed_fields(given: Any, managers: set[str]) -> None:
    live = apply_custom(None, "one", color="red")
    changed = custom(color="red")
    changed["metadata"]["managedFields"] = given
    track_update(CUSTOM, changed, live, Writer("m", "v1", now="2026-01-02T00:00:00Z"))
    assert {entry["manager"] for entry in changed["metadata"].get("managedFields", [])} == managers


def test_the_oldest_updaters_become_one() -> None:
    live: dict[str, Any] = custom(env={})
    track_update(CUSTOM, live, None, Writer("m0", "v1", now="2026-01-01T00:00:00Z"))
    for number in range(1, MAX_UPDATERS + 3):
        changed = custom(env={**live["spec"]["env"], f"k{number}": "x"})
        track_update(CUSTOM, changed, live, Writer(f"m{number}", "v1", now=f"2026-01-01T00:00:{number:02}Z"))
        live = changed
    managers = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert len(managers) == MAX_UPDATERS
    assert managers[0] == "ancient-changes"
    assert set(owners(live)["ancient-changes"]["f:spec"]["f:env"]) == {".", "f:k1", "f:k2", "f:k3"}


def test_kubectl_takes_over_what_client_side_apply_set() -> None:
    text = '{"metadata":{"name":"a"},"spec":{"color":"red","env":{"a":"1"}}}'
    live = custom(color="red", env={"a": "2"})
    live["metadata"]["annotations"] = {ANNOTATION: text}
    track_update(CUSTOM, live, None, Writer("kubectl-client-side-apply", "v1", now="2026-01-01T00:00:00Z"))
    with pytest.raises(ApiError, match=r"1 conflict: .*: .spec.env.a$"):
        apply_custom(live, "kubectl", color="blue", env={"a": "3"})
    with pytest.raises(ApiError, match=r"1 conflict: .*: .spec.color$"):
        apply_custom(live, "other", color="blue")
    taken = apply_custom(live, "kubectl", color="blue")
    assert taken["spec"]["color"] == "blue"
    assert taken["metadata"]["annotations"][ANNOTATION] == '{"metadata":{"name":"a"},"spec":{"color":"blue"}}\n'


def test_a_map_that_became_one_value_is_owned_as_one() -> None:
    live = custom(unit={"a": "1"})
    fields = {"f:spec": {"f:unit": {".": {}, "f:a": {}}}}
    live["metadata"]["managedFields"] = [
        {"manager": "one", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}
    ]
    with pytest.raises(ApiError, match=r'conflict with "one": .spec.unit$'):
        apply_custom(live, "two", unit={"a": "2"})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            deployment({"name": "a", "bogus": 1}),
            '.spec.template.spec.containers[name="a"].bogus: field not declared in schema',
        ),
        (deployment({"name": "a"}, {"name": "a"}), 'containers: duplicate entries for key [name="a"]'),
        (deployment({"image": "x"}, {"image": "y"}), 'containers: duplicate entries for key [name=""]'),
    ],
)
def test_what_cannot_be_applied_is_refused(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match="failed to create typed patch object") as caught:
        check_typed(DEPLOYMENT, wanted)
    assert message in caught.value.message


def test_fields_v1_round_trip() -> None:
    tree = {"f:spec": {"f:a": {}, "f:list": {'k:{"name":"x"}': {".": {}, "f:name": {}}, 'v:"z"': {}}}}
    assert to_fields_v1(from_fields_v1(tree)) == tree


@pytest.mark.parametrize(
    ("order", "items", "names"),
    [
        (None, [{"name": "c"}], ["c", "a", "b"]),
        (None, [{"name": "b", "image": "z"}], ["a", "b"]),
        (None, [{"name": "a", "$patch": "delete"}], ["b"]),
        (None, [{"$patch": "replace"}, {"name": "c"}], ["c"]),
        (["c", "a"], [{"name": "c"}, {"name": "a"}], ["c", "a", "b"]),
        (["b", "a"], [], ["b", "a"]),
        (["b", "c", "a"], [{"name": "b"}, {"name": "c"}, {"name": "a", "$patch": "delete"}], ["b", "c"]),
        (["a"], [{"name": "c"}], None),
        (None, [{"image": "z"}], None),
        (None, [{"name": "a", "$patch": "explode"}], None),
    ],
)
def test_a_strategic_merge_of_keyed_lists(order: list[str] | None, items: list[Any], names: list[str] | None) -> None:
    live = deployment({"name": "a", "image": "x"}, {"name": "b", "image": "y"})
    directives = {"$setElementOrder/containers": [{"name": name} for name in order]} if order else {}
    patch = {"spec": {"template": {"spec": {"containers": items, **directives}}}}
    if names is None:
        with pytest.raises(ApiError) as caught:
            strategic_merge(DEPLOYMENT, live, patch)
        assert (caught.value.code, caught.value.reason) == (500, "")
        return
    assert [item["name"] for item in containers(strategic_merge(DEPLOYMENT, live, patch))] == names


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"a": {"y": 2}}, {"a": {"x": 1, "y": 2}, "b": 1}),
        ({"a": {"$patch": "replace", "y": 2}}, {"a": {"y": 2}, "b": 1}),
        ({"a": {"$patch": "delete"}}, {"a": {}, "b": 1}),
        ({"$retainKeys": ["b"], "b": 2}, {"b": 2}),
        ({"c": {"y": None, "z": 1}}, {"a": {"x": 1}, "b": 1, "c": {"z": 1}}),
    ],
)
def test_directives_of_maps_in_a_strategic_merge(patch: dict[str, Any], expected: dict[str, Any]) -> None:
    assert strategic_merge(None, {"a": {"x": 1}, "b": 1}, patch) == expected


def test_strategic_merge_of_sets_and_atomic_lists() -> None:
    live = {"metadata": {"finalizers": ["a", "b"]}, "spec": {"externalIPs": ["1.1.1.1"], "ports": [{"port": 80}]}}
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
        "spec": {"externalIPs": ["2.2.2.2"], "ports": [{"port": 80, "name": "http"}, {"port": 81}]},
    }
    merged = strategic_merge(SERVICE, live, patch)
    assert merged["metadata"]["finalizers"] == ["c", "b"]
    assert merged["spec"] == {"externalIPs": ["2.2.2.2"], "ports": [{"port": 80, "name": "http"}, {"port": 81}]}


def test_merge_patch_removes_by_null() -> None:
    assert merge_patch({"a": {"b": 1, "c": 2}}, {"a": {"b": None}, "d": [1]}) == {"a": {"c": 2}, "d": [1]}


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3], "b": {}}),
        ([{"op": "add", "path": "/a/-1", "value": 3}], {"a": [1, 2, 3], "b": {}}),
        ([{"op": "remove", "path": "/a/-1"}], {"a": [1], "b": {}}),
        ([{"op": "replace", "path": "/b/c", "value": 1}], {"a": [1, 2], "b": {"c": 1}}),
        ([{"op": "add", "path": "/b/c"}], {"a": [1, 2], "b": {"c": None}}),
        ([{"op": "test", "path": "/b/c", "value": None}], {"a": [1, 2], "b": {}}),
        ([{"op": "test", "path": "/b/c"}], {"a": [1, 2], "b": {}}),
        ([{"op": "move", "from": "/a", "path": "/b/x~1y"}], {"b": {"x/y": [1, 2]}}),
        ([{"op": "copy", "from": "/a/0", "path": "/c"}], {"a": [1, 2], "b": {}, "c": 1}),
        ([{"op": "replace", "path": "", "value": {"z": 1}}], {"z": 1}),
        ([{"op": "add", "path": "c", "value": 1}], None),
        ([{"op": "add", "path": "/a/3", "value": 1}], None),
        ([{"op": "add", "path": "/c/d", "value": 1}], None),
        ([{"op": "replace", "path": "/a/-", "value": 1}], None),
        ([{"op": "remove", "path": "/b/c"}], None),
        ([{"op": "move", "from": "/b/c", "path": "/d"}], None),
        ([{"op": "test", "path": "/a/0", "value": True}], None),
        ([{"op": "test", "path": "/b/c/d", "value": None}], None),
        ([{"op": "explode", "path": "/a"}], None),
        ([{"path": "/a", "value": 1}], None),
        ([{"op": "add", "value": 1}], None),
    ],
)
def test_json_patch(operations: list[Any], expected: dict[str, Any] | None) -> None:
    target = {"a": [1, 2], "b": {}}
    if expected is not None:
        assert json_patch(target, operations) == expected
        return
    with pytest.raises(ApiError) as caught:
        json_patch(target, operations)
    assert (caught.value.code, caught.value.details) == (422, {})


def test_a_write_that_changes_nothing_keeps_the_times_and_shares_nothing() -> None:
    live = apply_custom(None, "one", color="red")
    again = server_side_apply(
        CUSTOM, live, custom(color="red"), Writer("one", "v1", now="2026-02-02T00:00:00Z"), force=False
    )
    again["metadata"]["managedFields"][0]["time"] = "2026-02-02T00:00:00Z"
    keep_times(again, live)
    assert again == live
    again["metadata"]["managedFields"][0]["manager"] = "another"
    assert live["metadata"]["managedFields"][0]["manager"] == "one"
