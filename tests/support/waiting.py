"""Waiting in tests for the effect of another task: as long as it takes, up to a generous limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["settled", "turns", "until"]


async def until(holds: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Return as soon as the condition holds; fail if it never does."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # what is waited for knows nothing of tests
            await asyncio.sleep(0.001)


async def settled(value: Callable[[], object], *, seconds: float) -> None:
    """Return after the value has not changed for this many seconds: for activity that ends without an event."""
    before = object()
    while before != (before := value()):  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(seconds)


async def turns(count: int = 20) -> None:
    """Let the event loop run `count` turns, which is enough for tasks and sockets of this process that are ready."""
    for _ in range(count):
        await asyncio.sleep(0)
