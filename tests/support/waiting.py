"""Waiting in tests for what another task does: for as long as it takes, and no longer than is plausible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["until"]


async def until(holds: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Return as soon as it holds; fail when it never does."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # what is waited for knows nothing of tests
            await asyncio.sleep(0.001)
