"""The end of tasks."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fleet.runtime.tasks import cancel_and_wait


async def forever() -> None:
    await asyncio.Event().wait()


async def test_all_have_ended() -> None:
    tasks = [asyncio.create_task(forever()) for _ in range(3)]
    await cancel_and_wait(None, *tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_failure_is_reported_with_the_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    task = asyncio.create_task(fail(), name="members")
    await asyncio.wait([task])
    with caplog.at_level(logging.ERROR):
        await cancel_and_wait(task)
    assert "task members failed" in caplog.text


async def test_the_cancellation_of_the_caller_is_not_swallowed() -> None:
    stubborn_may_end = asyncio.Event()
    stopping = asyncio.Event()

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            stopping.set()
            await stubborn_may_end.wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    closer = asyncio.create_task(cancel_and_wait(task))
    await stopping.wait()
    closer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closer
    stubborn_may_end.set()
    await asyncio.wait([task])
