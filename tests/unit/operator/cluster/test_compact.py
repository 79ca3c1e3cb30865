"""What is kept of objects that are watched."""

from __future__ import annotations

import json

from rstore_operator.cluster.compact import compact

TEXT = """{"kind": "Service", "metadata": {"name": "a", "labels": {"replicatedstore.io/store": "orders"},
"managedFields": [{"manager": "us"}]}, "spec": {"ports": [{"port": 2379}], "selector": {}}, "extra": null}"""


def test_everything_is_kept_but_who_set_the_fields() -> None:
    body = json.loads(TEXT)
    kept = compact(body)
    assert body["metadata"].pop("managedFields")
    assert kept == body
    assert kept["spec"]["ports"] is not body["spec"]["ports"]


def test_two_objects_share_their_keys() -> None:
    first, second = (compact(json.loads(TEXT)) for _ in range(2))
    for one, other in ((first, second), (first["metadata"], second["metadata"]), (first["spec"], second["spec"])):
        assert all(key is same for key, same in zip(one, other, strict=True))
    assert first["metadata"]["labels"].keys() == second["metadata"]["labels"].keys()


def test_an_object_without_metadata_fields_stays_as_it_is() -> None:
    assert compact({"kind": "Pod"}) == {"kind": "Pod"}
