"""Tasks with an owner: the code that starts a task names it, cancels it and waits for it.

Swallows neither the caller's cancellation nor the failure of a task.
"""

from __future__ import annotations

import asyncio
import logging

__all__ = ["cancel_and_wait"]

_log = logging.getLogger(__name__)


async def cancel_and_wait(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel the tasks and wait until all have ended. The failure of one is logged with its name."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
    for task in running:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task %s failed", task.get_name(), exc_info=error)
