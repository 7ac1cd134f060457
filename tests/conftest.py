"""What holds for every test: property tests take the same examples everywhere, unless told to explore; slow tests are last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# A slow machine is no failure, so no deadlines. WEIR_HYPOTHESIS=explore looks for new examples, and more of them.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("WEIR_HYPOTHESIS", "same"))

CLUSTER = Path(__file__).parent / "cluster"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cluster takes longer than all the rest, which without workers so fails first if it fails."""
    items.sort(key=lambda item: item.path.is_relative_to(CLUSTER))


class ClusterAndRest(LoadScopeScheduling):
    """One worker has the cluster, the other all the rest."""

    def _split_scope(self, nodeid: str) -> str:
        return "cluster" if nodeid.startswith("tests/cluster/") else "rest"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ClusterAndRest:
    return ClusterAndRest(config, log)
