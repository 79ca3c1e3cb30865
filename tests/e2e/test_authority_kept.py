"""A store is deleted and made again over its volumes: with its authority kept, certificates of clients stay good."""

from __future__ import annotations

from e2e.manifests import small_store
from rstore_api.client import Client
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store


async def test_client_certificates_outlive_the_store_object(kubectl, operator, scratch, tmp_path):
    del operator
    manifest = small_store("kept", ["us-east", "eu-west"])
    async with Store(kubectl, "kept", scratch / "kept") as store:
        kubectl.run("apply", "-f", "-", input_text=manifest)
        await store.wait_steady()
        await store.client("us-east").put(b"a", b"1")
        old = Store(kubectl, "kept", tmp_path / "old").write_certificates()
        store_id = (await store.status())["storeId"]

        kubectl.run("annotate", "rstore", "kept", "replicatedstore.io/paused=true")
        unowned = '[{"op":"remove","path":"/metadata/ownerReferences"}]'
        kubectl.run("patch", "secret", "kept-ca", "--type=json", "-p", unowned)
        kubectl.run("delete", "rstore", "kept")

        async def nothing_runs() -> bool:
            return not kubectl.get("pods,secrets", "-l=replicatedstore.io/store=kept")["items"][1:]

        await wait_until(nothing_runs, what="all but the authority gone")
        assert kubectl.try_run("get", "secret", "kept-ca").returncode == 0

        kubectl.run("apply", "-f", "-", input_text=manifest)
        await store.wait_steady()
        assert (await store.status())["storeId"] == store_id
        reasons = {item["type"] for item in (await store.status())["conditions"]}
        assert "AuthorityChanging" not in reasons
        async with Client([store.endpoint("us-east")], tls=old) as client:
            assert (await client.get(b"a")).kvs[0].value == b"1"
    kubectl.run("delete", "rstore", "kept")
