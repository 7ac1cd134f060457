"""One cluster for all of these tests, a namespace for each test. Runs only in the namespaces that `python -m tests` creates."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.namespace import INSIDE
from tests.cluster.tools import require
from tests.cluster.weir import Weir
from tests.support.gate import Gate

HERE = Path(__file__).parent
LONGEST_TEST = 1200
"""Time limit of a test in seconds, unless it sets another; the first test also starts the cluster."""

_placeholder = HERE / "test_outside.py"
# Outside the namespaces these tests would change the machine's own network.
collect_ignore = [_placeholder] if os.environ.get(INSIDE) == "1" else sorted({*HERE.glob("test_*.py")} - {_placeholder})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST_TEST))


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = Path(os.environ.get("WEIR_CLUSTER_DIRECTORY") or tmp_path_factory.mktemp("cluster"))
    cluster = Cluster(directory, require())
    try:
        asyncio.run(cluster.start())
        yield cluster
    finally:
        cluster.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure come the last lines of the logs of the control plane, KEDA, the node and Weir."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(cluster, Cluster):
        report.sections.append(("the cluster", cluster.report()))
    return report


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    async with cluster.api() as api:
        with cluster.waited_for_once():
            cluster.check()
            await cluster.plane.serving()
        yield api


@pytest.fixture(scope="package")
def installed(cluster: Cluster) -> Cluster:
    """Our own manifests, applied once."""
    asyncio.run(Weir.install(cluster))
    return cluster


@pytest.fixture
async def weir(installed: Cluster, api: Api) -> AsyncIterator[Weir]:
    # A request may be held as long as a cold start takes, or up to a timeout of its route.
    async with httpx.AsyncClient(trust_env=False, timeout=240, limits=httpx.Limits(max_connections=None)) as client:
        weir = Weir(installed, client)
        with installed.waited_for_once():
            await weir.until_ready(api)
        await weir.find(api)
        yield weir


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate that apps wait for; opened when the test has ended, so that no app continues to wait."""
    gate = Gate(tmp_path)
    yield gate
    gate.open()


@pytest.fixture
async def namespace(api: Api, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A namespace for the test. It is deleted at the end, without waiting for that, so no other test may get its name: long names
    are cut, and cases of one test differ at the end."""
    test = str(request.node.name).replace("_", "-").replace("[", "-").replace("]", "")[:41].strip("-")
    name = f"{test}-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]}"
    await api.create(namespaced("namespaces"), {"metadata": {"name": name}})
    yield name
    await api.delete(namespaced("namespaces", name=name))
