"""Tests on real sockets run on both event loops, and some of them against an address where nobody answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from fleet.discovery.sources import Backend
from tests.support.loops import LOOPS
from tests.wire.engine_stage import Stage
from weir.engine.reaper_handle import ReaperHandle


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS


@pytest.fixture
def silent() -> Iterator[Backend]:
    """An address where connections neither open nor fail: its queue is full, and nobody accepts."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    yield Backend("127.0.0.1", listener.getsockname()[1])
    for each in (listener, *fillers):
        each.close()


@pytest.fixture
def reaper() -> Iterator[ReaperHandle]:
    reaper = ReaperHandle()
    yield reaper
    reaper.close()


@pytest.fixture
async def stage(reaper: ReaperHandle, tmp_path: Path) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        yield Stage(reaper, tasks, tmp_path)
