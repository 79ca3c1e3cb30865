"""After the end of the machine the live data is not trusted: log and checkpoint bring everything back."""

from __future__ import annotations

import signal
from pathlib import Path

from integration.replicas.server_processes import ReplicaProcess, eventually


def _after_a_power_loss(replica: ReplicaProcess) -> None:
    """Leaves what the next boot finds: a marker of the boot before, and pages of data that never reached the disk."""
    data = replica.directory / "data"
    assert (data / "mvcc.running").read_bytes()
    (data / "mvcc.running").write_bytes(b"the boot before")
    live = data / "mvcc" / "live" / "data.mdb"
    size = live.stat().st_size
    with live.open("r+b") as file:
        file.write(b"\xa5" * min(size, 1 << 16))


async def test_data_survives_a_power_loss(start_regions) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    async with region.client() as client:
        for number in range(50):
            newest = (await client.put(f"k{number}", f"v{number}")).header.revision
        before = await client.hash_kv(newest)
    for _ in range(2):
        await replica.end(signal.SIGKILL)
        _after_a_power_loss(replica)
        replica.start()
        async with region.client() as client:
            answer = await eventually(lambda client=client: client.get_prefix("k"))
            assert {kv.key.decode(): kv.value.decode() for kv in answer.kvs} == {f"k{n}": f"v{n}" for n in range(50)}
            assert (await client.hash_kv(newest)).hash == before.hash
    assert '"live_data_dropped"' in replica.log_text()


async def test_data_is_used_again_after_a_crash_of_the_process_and_after_a_clean_end(start_regions) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    marker: Path = replica.directory / "data" / "mvcc.running"
    for number in (signal.SIGKILL, signal.SIGTERM):
        async with region.client() as client:
            await eventually(lambda client=client: client.put("k", "v"))
        await replica.end(number)
        assert marker.exists() is (number == signal.SIGKILL)
        replica.start()
    async with region.client() as client:
        assert (await eventually(lambda: client.get("k"))).kvs[0].version == 2
    assert '"live_data_dropped"' not in replica.log_text()
