"""Services that this machine reaches through the Kubernetes API alone, as the tests do on some existing clusters."""

from __future__ import annotations

import pytest
from e2e.forwarding import ServiceForwards, answers
from rstore_api.client import Client


@pytest.fixture
def forwards(cluster):
    forwards = ServiceForwards(cluster.kubeconfig, cluster.namespace)
    yield forwards
    forwards.stop()


async def test_reads_and_writes_through_forwarded_services(store, forwards):
    tls = store.write_certificates()
    for region in await store.regions():
        address = forwards.address(f"{store.name}-{region}")
        assert answers(address)
        async with Client([address], tls=tls) as client:
            await client.put(b"forwarded/key", region.encode(), timeout_seconds=10)
            assert (await client.get(b"forwarded/key")).kvs[0].value == region.encode()


async def test_a_forwarded_service_is_gone_after_stop(store, cluster):
    forwards = ServiceForwards(cluster.kubeconfig, cluster.namespace)
    address = forwards.address(store.name)
    assert answers(address)
    forwards.stop()
    assert not answers(address)
