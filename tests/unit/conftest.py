"""Checks the CPU budget of every unit test."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from tests.support.budget import cpu_seconds, over_budget


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "heavy(reason): a unit test that may take more CPU than others, and why")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    began = cpu_seconds()
    yield
    marker = item.get_closest_marker("heavy")
    trouble = over_budget(cpu_seconds() - began, None if marker is None else str(*marker.args))
    if trouble is not None:
        pytest.fail(trouble, pytrace=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of tests have been collected, and stay: the garbage collector need not look at them again and again."""
    gc.collect()
    gc.freeze()
