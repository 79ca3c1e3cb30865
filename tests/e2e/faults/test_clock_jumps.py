"""Wall clocks jump by an hour, forth and back, while everything runs: nothing that matters may look at them."""

from __future__ import annotations

import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.faults.clocks.cluster import Clocks, cluster_with_clocks
from e2e.faults.scene import (
    GAP_SECONDS,
    LONG,
    OPERATOR,
    UNNOTICED_SECONDS,
    BreakableScene,
    gap_since,
    stopped_in_time,
)
from e2e.manifests import small_store
from localkube.links.control import LinkFaults
from rstore_cli.helm import Helm
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

pytestmark = pytest.mark.runner

REPOSITORY = Path(__file__).resolve().parents[3]
NAME, OPERATORS = "jumpy", "operators"
HOUR = 3600


def manifest() -> str:
    regions = [
        {"name": name, "replicas": replicas, "storage": {"size": "1Gi"}}
        for name, replicas in (("us-east", 3), ("eu-west", 1), ("ap-south", 1))
    ]
    return json.dumps(
        {
            "apiVersion": "replicatedstore.io/v1alpha1",
            "kind": "ReplicatedStore",
            "metadata": {"name": NAME},
            "spec": {"regions": regions},
        }
    )


class Places:
    """Makes the clocks of regions and of the operator jump."""

    def __init__(self, clocks: Clocks, kubectl: Kubectl) -> None:
        self._clocks = clocks
        self._kubectl = kubectl

    def jump(self, hours: dict[str, int]) -> None:
        """Sets the clocks of these places that many hours ahead, all others right."""
        prefixes = {pods_of(place): HOUR * number for place, number in hours.items()}
        listed = self._kubectl.get("pods", "--all-namespaces")["items"]
        running = [item["metadata"]["name"] for item in listed if item["status"].get("phase") == "Running"]
        assert all(any(pod.startswith(prefix) for pod in running) for prefix in prefixes), running
        self._clocks.set(prefixes, running)


def pods_of(place: str) -> str:
    """Returns the prefix of its pods' names."""
    return "rstore-replicated-store-operator" if place == OPERATOR else f"{NAME}-{place}-"


@pytest.fixture(scope="module")
def world():
    directory = Path(tempfile.mkdtemp(prefix="rstore-clocks-"))
    with cluster_with_clocks(directory / "cluster") as clocks:
        kubeconfig = clocks.data_dir / "kubeconfig"
        Helm(kubeconfig, "rstore", OPERATORS).install(REPOSITORY / "charts" / "replicated-store-operator", {})
        kubectl = Kubectl(kubeconfig)
        kubectl.run("apply", "-f", "-", input_text=manifest())
        yield clocks, kubectl, directory / "certificates"


@pytest.fixture
async def scene(world, request):
    clocks, kubectl, certificates = world
    async with Store(kubectl, NAME, certificates) as store:
        await store.wait_steady()
        yield BreakableScene(
            store, LinkFaults(clocks.data_dir), clocks.data_dir, f"clock/{request.node.name}/".encode()
        )


@pytest.fixture
def places(world):
    clocks, kubectl, _ = world
    yield Places(clocks, kubectl)
    clocks.set({}, [])


def ahead(moment: str) -> timedelta:
    """Returns how far a time that was just written into `.status` is ahead of the true one."""
    return datetime.fromisoformat(moment) - datetime.now(UTC)


@pytest.mark.parametrize("place", ["primary", "secondary", "operator", "all"] if LONG else ["all"])
async def test_writes_go_on_and_nobody_fails_over(scene, places, place):
    """With ``all``, a secondary is as far behind as the primary and the operator are ahead."""
    primary, epoch = await scene.primary(), (await scene.store.status())["epoch"]
    ways = {"primary": (primary, 1), "secondary": ((await scene.others(primary))[0], -1), "operator": (OPERATOR, 1)}
    jumping = [way for name, way in ways.items() if place in ("all", name)]
    async with scene.writing() as load:
        began = time.monotonic()
        for hours in (1, -1, 0):
            places.jump({name: way * hours for name, way in jumping})
            jumped = time.monotonic()
            while time.monotonic() < jumped + 4:  # a tenure, and the failover delay
                await load.wait_acknowledged(10)
        assert gap_since(load, began) < UNNOTICED_SECONDS
    status = await scene.store.status()
    assert (status["primaryRegion"], status["epoch"]) == (primary, epoch)
    await scene.store.wait_steady(primary=primary)
    await scene.judge(load, nothing_quarantined=True)


async def test_clocks_that_jump_apart_make_no_second_primary(scene, places):
    """The primary is cut off from all but its clients while its clock goes back by two hours and everybody else's goes
    forth: by such clocks its tenure would hold on, and its grants would have run out long ago."""
    primary = await scene.primary()
    others = await scene.others(primary)
    async with (
        scene.writing([primary], timeout_seconds=2, name=b"inside/") as inside,
        scene.writing(others, name=b"outside/") as outside,
    ):
        places.jump({primary: 1, others[0]: -1, others[1]: -1, OPERATOR: -1})
        await inside.wait_acknowledged(20)
        began = time.monotonic()
        scene.isolate(primary, *others, OPERATOR)
        cut_at = time.monotonic()
        places.jump({primary: -1, others[0]: 1, others[1]: 1, OPERATOR: 1})
        receipt = await scene.failed_over(primary)
        await outside.wait_acknowledged(30)
        assert gap_since(outside, began) <= GAP_SECONDS
        stopped_in_time(inside, outside, cut_at)

        async def one_primary() -> bool:
            regions = (await scene.store.status())["regions"]
            return [region["role"] for region in regions if region["name"] != primary].count("Primary") == 1

        await scene.wait(one_primary, "one of the other regions shown as primary")
        scene.links.clear()
        await inside.wait_acknowledged(10)
        places.jump({})
        await scene.store.wait_steady()
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    assert ahead(receipt["startedAt"]) > timedelta(minutes=50), "the operator's clock did not jump"
    assert 0 < receipt["writeGapSeconds"] <= GAP_SECONDS, "no clock of an hour ahead is in it"
    await scene.judge(inside, outside)


async def test_a_store_that_is_made_by_an_operator_whose_clock_is_ahead(scene, places, world, tmp_path):
    """Its certificates must be valid at once for replicas and clients whose clocks are right."""
    kubectl = world[1]
    places.jump({OPERATOR: 1})
    kubectl.run("apply", "-f", "-", input_text=small_store("early", ["eu-west"]))
    async with Store(kubectl, "early", tmp_path) as early:
        await early.wait_steady()
        await early.client("eu-west").put(b"key", b"value")
    kubectl.run("delete", "rstore", "early")
