"""Tests on real sockets: which event loops they run on, and what several of them need."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from zlib import crc32

import pytest

from fleet.discovery.sources import Backend
from tests.support.full import FULL
from tests.support.loops import LOOPS
from tests.wire.engine_stage import Stage
from weir.engine.reaper_handle import ReaperHandle

IN_HOW_MANY = 4


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops show what only one of them forgives; the product runs on uvloop. With WEIR_FULL_SIZE=1 all tests run on both."""
    both = FULL or crc32(item.nodeid.encode()) % IN_HOW_MANY == 0
    return LOOPS if both else {"uvloop": LOOPS["uvloop"]}


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
