"""What is kept of objects that are watched."""

from __future__ import annotations

import json

from rstore_operator.cluster.packed import pack, unpack

TEXT = """{"metadata": {"name": "a", "labels": {"replicatedstore.io/store": "orders"},
"managedFields": [{"manager": "us"}]}, "spec": {"ports": [{"port": 2379}], "selector": {}, "share": 0.5},
"extra": null}"""


def test_everything_is_kept_but_who_set_the_fields() -> None:
    body = json.loads(TEXT)
    kept = unpack(pack("Service", body))
    assert body["metadata"].pop("managedFields")
    assert kept == {**body, "kind": "Service"}


def test_an_object_that_is_watched_takes_a_fraction_of_what_it_takes_as_a_dictionary() -> None:
    body = {"metadata": {"name": "a"}, "spec": {"items": [{"name": f"item-{n}", "port": n} for n in range(100)]}}
    assert len(pack("Service", body)) < len(json.dumps(body)) / 3
