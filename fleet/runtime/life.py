"""The life of a component, the same for every plane: start in steps, drain, close in the reverse order of the steps.

Knows neither settings nor sockets: what a step does is the component's business. Signals and exit codes are process.py's.
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

    `close` is also called when `start` has failed or was cancelled half-way, so it must allow for a part that is not whole.
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
        """In the order of the start. Read once, by `start`."""

    async def start(self) -> None:
        """Start every step. When one fails or is cancelled, it and those before it are closed, last first, and the error is
        raised; what fails while they are closed is only logged."""
        try:
            for step in self._steps():
                self._begun.append(step)
                await _done(step.start)
        except BaseException:
            await self._close_begun()
            raise

    async def drain(self) -> None:  # noqa: B027 -- not every component has something to finish
        """Take nothing new and finish what is open. Nothing to do unless a subclass says otherwise."""

    async def close(self) -> None:
        """Close every step that has begun, last first. All of them are closed, whatever fails; then the first error is raised.

        Does nothing when all is closed. A call during another one returns when that one has ended.
        """
        error = await self._close_begun()
        if error is not None:
            raise error

    async def end(self) -> None:
        """Drain, then close, which also happens when the drain fails or is cancelled."""
        try:
            await self.drain()
        finally:
            await self.close()

    async def ended(self) -> None:
        """Wait for an end that nobody asked for, and raise what caused it. By default there is none."""
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
    """Make a component and run it until SIGTERM, SIGINT or its own end, then drain and close it. Raises StartError.

    A signal during the start cancels it: what has begun is closed, and there is nothing to drain.
    """
    with Shutdown() as shutdown:
        component = make()
        told = asyncio.create_task(shutdown.wait(), name="shutdown")
        try:
            if await _before(told, component.start(), "start"):
                await _before(told, component.ended(), "end of its own")
                await component.drain()
        finally:
            try:
                await component.close()
            finally:
                await cancel_and_wait(told)


def run_alone(load: Callable[[], Settings], make: Callable[[Settings], Component]) -> int:
    """A process with one component: read its settings, run it until it is told to end, and give the exit code."""
    return run_component(load, lambda settings: live(lambda: make(settings)))


async def _before(told: asyncio.Task[None], work: Coroutine[object, object, None], name: str) -> bool:
    """Run the work until it is done (True) or the process is told to end; then it is cancelled and waited for (False)."""
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait((task, told), return_when=asyncio.FIRST_COMPLETED)
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
