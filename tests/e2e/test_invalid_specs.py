"""Bad specs and annotations get a clear message, at `kubectl apply` or as condition and event; nothing is disturbed."""

from __future__ import annotations

import pytest
import yaml
from rstore_testkit.load import wait_until

ASKED = "replicatedstore.io/failover-to"
VALID = {
    "apiVersion": "replicatedstore.io/v1alpha1",
    "kind": "ReplicatedStore",
    "metadata": {"name": "bad"},
    "spec": {"regions": [{"name": "us-east", "replicas": 1}, {"name": "eu-west", "replicas": 1}]},
}

BAD = {
    "duplicate region": (
        {"regions": [{"name": "us-east", "replicas": 1}, {"name": "us-east", "replicas": 1}]},
        "Duplicate value",
    ),
    "unknown primary": ({"primaryRegion": "mars", "regions": VALID["spec"]["regions"]}, "primaryRegion"),
    "bad quantity": (
        {"regions": [{"name": "us-east", "replicas": 1, "storage": {"size": "ten gigs"}}]},
        "size",
    ),
    "no replicas": ({"regions": [{"name": "us-east", "replicas": 0}]}, "greater than or equal to 1"),
    "no regions": ({"regions": []}, "regions"),
    "bad duration": (
        {"regions": VALID["spec"]["regions"], "failover": {"switchoverTimeout": "soon"}},
        "switchoverTimeout",
    ),
    "name of a client's Secret": (
        {"regions": [{"name": "client-shop"}], "security": {"clients": [{"name": "shop"}]}},
        "a region must not be called client- and a client's name",
    ),
    "reserved client": (
        {"regions": VALID["spec"]["regions"], "security": {"clients": [{"name": "peer"}]}},
        "reserved for the store's own certificates",
    ),
    "limits without mTLS": (
        {"regions": VALID["spec"]["regions"], "security": {"clientAuth": "None", "clients": [{"name": "shop"}]}},
        "need clientAuth mTLS",
    ),
    "revoked at no time": (
        {"regions": VALID["spec"]["regions"], "security": {"sharedClient": {"revokedBefore": "now"}}},
        "revokedBefore",
    ),
    "client endpoint with a scheme": (
        {"regions": [{"name": "us-east", "clientEndpoints": ["https://orders.example.com:2379"]}]},
        "must be host:port without a scheme",
    ),
    "client endpoint of two regions": (
        {"regions": [{"name": name, "clientEndpoints": ["lb:2379"]} for name in ("us-east", "eu-west")]},
        "two regions must not have the same clientEndpoints",
    ),
    "client endpoints of too many names": (
        {
            "regions": [{"name": "us-east", "clientEndpoints": [f"{name}-{{ordinal}}:2379" for name in "abc"]}],
            "security": {"tls": {"subjectAltNames": [f"{number}.example.com" for number in range(6)]}},
        },
        "must together be at most 32 names",
    ),
    "unknown field": ({"regions": VALID["spec"]["regions"], "replikation": {}}, "replikation"),
}


@pytest.mark.parametrize("what", list(BAD))
async def test_a_bad_spec_is_refused_at_apply(store, what):
    before = await store.object()
    spec, expected = BAD[what]
    done = store.kubectl.try_run("apply", "-f", "-", input_text=yaml.safe_dump({**VALID, "spec": spec}))
    assert done.returncode != 0
    assert expected in done.stderr
    after = await store.object()
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    assert store.kubectl.try_run("get", "rstore", VALID["metadata"]["name"]).returncode != 0, "it was not made"


async def test_a_bad_edit_of_a_running_store_is_refused_and_disturbs_nothing(store, load):
    async with load.running():
        for patch, expected in [
            ('{"spec":{"primaryRegion":"mars"}}', "primaryRegion"),
            ('{"spec":{"regions":[]}}', "regions"),
        ]:
            done = store.kubectl.try_run("patch", "rstore", store.name, "--type=merge", "-p", patch)
            assert done.returncode != 0
            assert expected in done.stderr
    await store.wait_steady()


@pytest.mark.parametrize("problem", ["unknown region", "present primary"])
async def test_a_senseless_failover_target_is_answered_and_removed(store, load, problem):
    primary, epoch = (await store.status())["primaryRegion"], (await store.status())["epoch"]
    target = "mars" if problem == "unknown region" else primary
    async with load.running():
        await store.kube("annotate", "rstore", store.name, f"{ASKED}={target}")

        async def answered() -> bool:
            refused = [one for one in (await store.status())["conditions"] if one["type"] == "RequestAccepted"]
            asked = ASKED in (await store.object())["metadata"].get("annotations", {})
            return not asked and any(one["status"] == "False" and target in one["message"] for one in refused)

        await wait_until(answered, what=f"annotation removed, and RequestAccepted=False with {target}")

        async def warned() -> bool:
            """An operator that is replaced between its answer and the Event posts none, so it is asked again."""
            if any(kind == "Warning" and target in message for kind, _, message in await store.events()):
                return True
            await store.kube("annotate", "--overwrite", "rstore", store.name, f"{ASKED}={target}")
            return False

        await wait_until(warned, what="a Warning event that names the target", poll_seconds=10.0)
        await wait_until(answered, what="annotation removed")
    assert ((await store.status())["primaryRegion"], (await store.status())["epoch"]) == (primary, epoch)
