"""Fuzzing over sockets runs on both event loops; what is in memory needs only one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.support.loops import LOOPS

ON_SOCKETS = {"test_radamsa.py"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS if item.path.name in ON_SOCKETS else {"asyncio": LOOPS["asyncio"]}
