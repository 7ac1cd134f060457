"""The life cycle of a component, common to all planes: start in steps, drain, close in the reverse order.

Knows neither settings nor sockets: the steps are defined by the component. Signals and exit codes are handled in process.py.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fleet.runtime.process import ProcessSettings, Shutdown, run_component
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Component", "Step", "live", "run_alone"]

_log = logging.getLogger(__name__)

Settings = TypeVar("Settings", bound=ProcessSettings)
Action = Callable[[], Awaitable[object] | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a component: how it starts, and how it is closed.

    `close` is also called when `start` has failed or was cancelled, so it must accept a partly started part.
    """

    name: str
    start: Action | None = None
    close: Action | None = None


class Component(ABC):
    """start, then drain, then close. A subclass lists its steps; this class runs them and undoes them."""

    def __init__(self) -> None:
        self._begun: list[Step] = []
        """Steps whose `start` was called and whose `close` was not."""
        self._closing = asyncio.Lock()

    @abstractmethod
    def _steps(self) -> Sequence[Step]:
        """The steps in start order. Called once, by `start`."""

    async def start(self) -> None:
        """Start every step. When one fails or is cancelled, close it and the steps before it, last first, and raise the error;
        errors while closing are only logged."""
        try:
            for step in self._steps():
                self._begun.append(step)
                await _done(step.start)
        except BaseException:
            await self._close_begun()
            raise

    async def drain(self) -> None:  # noqa: B027 -- not every component has something to finish
        """Accept nothing new, and finish what is open. Does nothing unless a subclass overrides it."""

    async def close(self) -> None:
        """Close every started step, last first. All are closed, even if one fails; then the first error is raised.

        Does nothing when all are closed. A concurrent call returns when the first one has ended.
        """
        error = await self._close_begun()
        if error is not None:
            raise error

    async def end(self) -> None:
        """Drain, then close; close also when the drain fails or is cancelled."""
        try:
            await self.drain()
        finally:
            await self.close()

    async def ended(self) -> None:
        """Wait until the component fails by itself, and raise the cause. By default it never does."""
        await asyncio.Event().wait()

    async def _close_begun(self) -> BaseException | None:
        first: BaseException | None = None
        async with self._closing:
            while self._begun:
                step = self._begun.pop()
                try:
                    await _done(step.close)
                except BaseException as error:  # noqa: BLE001 -- the others are closed, then the first is raised
                    if not isinstance(error, asyncio.CancelledError):
                        _log.error("%s: %s could not be closed", type(self).__name__.lower(), step.name, exc_info=error)
                    first = first or error
        return first


async def live(make: Callable[[], Component]) -> None:
    """Create a component and run it until SIGTERM, SIGINT or its own failure, then drain and close it. Raises StartError.

    A signal during the start cancels it: the started steps are closed, without a drain.
    """
    with Shutdown() as shutdown:
        component = make()
        stop = asyncio.create_task(shutdown.wait(), name="shutdown")
        try:
            if await _before(stop, component.start(), "start"):
                await _before(stop, component.ended(), "end of its own")
                await component.drain()
        finally:
            try:
                await component.close()
            finally:
                await cancel_and_wait(stop)


def run_alone(load: Callable[[], Settings], make: Callable[[Settings], Component]) -> int:
    """Run one component as the whole process: read its settings, run it until a signal; returns the exit code."""
    return run_component(load, lambda settings: live(lambda: make(settings)))


async def _before(stop: asyncio.Task[None], work: Coroutine[object, object, None], name: str) -> bool:
    """Run the work until it is done (True), or until a shutdown is requested; then cancel it and wait for its end (False)."""
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    if task.cancelled():
        return False
    task.result()
    return True


async def _done(action: Action | None) -> None:
    waiting = None if action is None else action()
    if waiting is not None:
        await waiting
