"""One cluster, one operator installed by Helm, one store of three regions for all end-to-end tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from e2e.cluster import EXISTING, OPERATOR_NAMESPACE, ClusterUnderTest, cluster_under_test
from e2e.failures import Before, cluster_state, put_back, state_before
from rstore_cli.helm import clean_environment
from rstore_testkit.load import Load
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "replicated-store-operator"
TEST_SECONDS = 1200
"""Bounds a test with its fixtures: some waits of WAIT_SECONDS. None comes near it, even on a busy machine."""
left_out = pytest.StashKey[list[str]]()
before_test = pytest.StashKey[Before]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On an existing cluster, tests that need the embedded cluster's runner are left out, and named at the end."""
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.e2e)
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
    without = [item for item in ours if EXISTING and item.get_closest_marker("runner")]
    items[:] = [item for item in items if item not in without]
    config.stash[left_out] = [item.nodeid for item in without]
    config.hook.pytest_deselected(items=without)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if names := config.stash.get(left_out, []):
        terminalreporter.section(f"{len(names)} tests left out: they need the embedded cluster's runner")
        for name in names:
            terminalreporter.write_line(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows the state of the cluster in which a test failed, and makes it what it was before the test."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and call.when != "teardown" and cluster is not None:
        report.sections.append(("cluster", cluster_state(cluster)))
        if before_test in item.stash:
            report.sections.append(("put back", put_back(cluster, item.stash[before_test])))
    return report


@pytest.fixture(autouse=True)
def _remember_state(request: pytest.FixtureRequest) -> None:
    """What is there before the test is not its own."""
    if "cluster" in request.fixturenames:
        request.node.stash[before_test] = state_before(request.getfixturevalue("cluster"))


@pytest.fixture(scope="session")
def scratch() -> Path:
    """A directory among the run's other files, so that the logs of a failed run are kept."""
    return Path(tempfile.mkdtemp(prefix="rstore-e2e-"))


@pytest.fixture(scope="session")
def cluster(scratch: Path) -> Iterator[ClusterUnderTest]:
    with cluster_under_test(scratch) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubeconfig(cluster: ClusterUnderTest) -> Path:
    return cluster.kubeconfig


@pytest.fixture(scope="session")
def data_dir(cluster: ClusterUnderTest) -> Path:
    """The directory of the embedded cluster's files; a test that uses it is marked ``runner``."""
    assert cluster.data_dir is not None, "this test needs the marker `runner`"
    return cluster.data_dir


@pytest.fixture(scope="session")
def kubectl(cluster: ClusterUnderTest) -> Kubectl:
    return cluster.kubectl()


@pytest.fixture(scope="session")
def operator(cluster: ClusterUnderTest) -> Kubectl:
    """Installs the operator; the value is kubectl in its namespace."""
    cluster.helm().install(CHART, cluster.values)
    return cluster.kubectl(OPERATOR_NAMESPACE)


@pytest.fixture(scope="session")
def applied(kubectl: Kubectl, operator: Kubectl, scratch: Path) -> str:
    """Applies the example store and waits until it is steady; the value is its name."""
    del operator
    kubectl.run("apply", "-f", str(REPOSITORY / "examples" / "three-regions.yaml"))

    async def steady() -> None:
        async with Store(kubectl, "orders", scratch / "certificates") as store:
            await store.wait_steady()

    asyncio.run(steady())
    return "orders"


@pytest.fixture
async def store(kubectl: Kubectl, applied: str, scratch: Path) -> AsyncIterator[Store]:
    """The example store, which is steady before each test."""
    async with Store(kubectl, applied, scratch / "certificates") as store:
        await store.wait_steady()
        before = await differences(store)
        yield store
        assert await differences(store) == before


async def differences(store: Store) -> list[str]:
    """Returns the messages of all events so far that regions differ."""
    return [message for _, reason, message in await store.events() if reason == "Diverged"]


class LoadRunner:
    """Runs a load through every region and checks every acknowledged write in every region afterwards."""

    def __init__(self, store: Store, prefix: bytes) -> None:
        self.store = store
        self.prefix = prefix

    @asynccontextmanager
    async def running(self, *, regions: list[str] | None = None, per_region: int = 2) -> AsyncIterator[Load]:
        """Runs the load around a block. Leaving the block stops and checks it: nothing may be lost or doubled."""
        through = regions if regions is not None else await self.store.regions()
        clients = [self.store.new_client(region) for region in through for _ in range(per_region)]
        try:
            writers = [self.store.writer(client) for client in clients]
            async with Load(writers, prefix=self.prefix, pause_seconds=0.005) as load:
                await load.wait_acknowledged(20)
                yield load
        finally:
            for client in clients:
                await client.close()
        await self.check(load)

    async def check(self, load: Load) -> None:
        """Asserts that every acknowledged write is in every region, once, and that all regions hash equal."""
        revision = await self.store.wait_converged()
        for region, verdict in (await self.store.judge(load.ledger, self.prefix)).items():
            assert verdict.ok, f"{region}: {verdict}"
        hashes = await self.store.hashes(revision)
        assert {one.revision for one in hashes} == {revision}
        assert len({one.hash for one in hashes}) == 1, hashes


@pytest.fixture
def rstore(kubeconfig: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `rstore ARGUMENTS`; fails unless it exits with the expected code."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "rstore_cli", *arguments],
            env={**clean_environment(), "KUBECONFIG": str(kubeconfig), "COLUMNS": "200", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def load(store: Store, request: pytest.FixtureRequest) -> LoadRunner:
    return LoadRunner(store, f"load/{request.node.name}/".encode())
