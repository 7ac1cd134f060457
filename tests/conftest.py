"""What holds for every test: property tests take the same examples everywhere, unless told to explore; slow tests are last;
failures are printed when they happen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support import hangs
from tests.support.failures import Failures
from tests.support.full import PROFILE, examples

# A slow machine is no failure, so no deadlines. WEIR_HYPOTHESIS=explore looks for new examples, and more of them.
settings.register_profile(
    "same", max_examples=examples(100), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(PROFILE)

TESTS = Path(__file__).parent
CLUSTER = TESTS / "cluster"
FIRST = ("cluster", "system", "wire")
"""Where several workers share the tests: those that take longest are handed out first, so that all end at about the same time."""


@pytest.hookimpl(trylast=True)  # when there is a terminal reporter
def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(hangs)
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):  # workers of xdist have a reporter that nobody sees
        config.pluginmanager.register(Failures(terminal))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The cluster takes longer than all the rest: with workers it begins at once, without them it is last, to fail first."""
    if not config.getoption("loadscopereorder", True):  # then xdist hands out files in this order
        items.sort(key=lambda item: _turn(item.path))
    else:
        items.sort(key=lambda item: item.path.is_relative_to(CLUSTER))


def _turn(path: Path) -> int:
    directory = path.relative_to(TESTS).parts[0]
    return FIRST.index(directory) if directory in FIRST else len(FIRST)


class ClusterAndRest(LoadScopeScheduling):
    """One worker has the cluster, the others the rest, file by file; when the cluster is done its worker takes files as well."""

    def _split_scope(self, nodeid: str) -> str:
        return "cluster" if nodeid.startswith("tests/cluster/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ClusterAndRest | None:
    """As `python -m tests` asks for it. With any other --dist it is xdist that divides the tests."""
    return ClusterAndRest(config, log) if config.getoption("dist") == "loadscope" else None
