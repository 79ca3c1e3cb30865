"""What is kept of objects that are watched."""

from __future__ import annotations

import json
import random
from typing import Any

from rstore_operator.cluster.packed import Packer

TEXT = """{"metadata": {"name": "a", "labels": {"replicatedstore.io/store": "orders"},
"managedFields": [{"manager": "us"}]}, "spec": {"ports": [{"port": 2379}], "selector": {}, "share": 0.5},
"extra": null}"""


def pod(number: int) -> dict[str, Any]:
    words = random.Random(7)
    env = [{"name": f"VARIABLE_{n}", "value": f"{words.getrandbits(128):x}"} for n in range(40)]
    return {"metadata": {"name": f"store-{number}-us-0"}, "spec": {"containers": [{"name": "replica", "env": env}]}}


def test_everything_is_kept_but_who_set_the_fields() -> None:
    body, packer = json.loads(TEXT), Packer("Service")
    kept = packer.unpack(packer.pack(body))
    assert body["metadata"].pop("managedFields")
    assert kept == {**body, "kind": "Service"}


def test_an_object_that_is_watched_takes_a_fraction_of_what_it_takes_as_json() -> None:
    body = {"metadata": {"name": "a"}, "spec": {"items": [{"name": f"item-{n}", "port": n} for n in range(100)]}}
    assert len(Packer("Service").pack(body)) < len(json.dumps(body)) / 3


def test_what_objects_have_in_common_is_kept_once() -> None:
    packer = Packer("Pod")
    packed = [packer.pack(pod(number)) for number in range(20)]
    assert len(packed[-1]) < len(packed[0]) / 5
    assert [packer.unpack(one) for one in packed] == [{**pod(number), "kind": "Pod"} for number in range(20)]


def test_the_contents_of_a_secret_are_not_kept_with_others() -> None:
    packer = Packer("Secret")
    for number in range(200):
        packer.pack({"metadata": {"name": f"s-{number}"}, "data": {"tls.key": f"secret-{number}" * 10}})
    assert b"s-1" in packer._sample
    assert b"tls.key" in packer._sample
    assert b"secret-1" not in packer._sample
