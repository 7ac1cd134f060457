"""The life of a process: its event loop, the signals that end it, the exit codes it ends with.

Knows nothing of what the component does. Only `run_component` may write to standard error, one line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import uvloop

from fleet.runtime.settings import SettingsError
from fleet.runtime.terminal import complain

__all__ = ["EXIT_CANNOT_START", "Shutdown", "StartError", "run_component"]

EXIT_CANNOT_START = 3
"""Exit code of a component that could not start (the same as uvicorn's)."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger(__name__)


class StartError(Exception):
    """A component could not start: a port in use, a certificate that cannot be read. One line for an operator."""


def run_component(main: Callable[[], Awaitable[None]]) -> int:
    """Run main on a new event loop until it returns, and give the exit code of the process."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_awaited(main))
    except (SettingsError, StartError) as error:
        complain(f"error: {' '.join(str(error).split())}")
        return EXIT_CANNOT_START
    except KeyboardInterrupt:
        # SIGINT before the component listened for signals.
        return 128 + signal.SIGINT
    return 0


async def _awaited(main: Callable[[], Awaitable[None]]) -> None:
    await main()


class Shutdown:
    """Set by SIGTERM, SIGINT, or a terminal that is closed; a second signal ends the process at once.

    Use as a context manager around the life of a component, on the main thread with a running loop:
    `with Shutdown() as shutdown: ...; await shutdown.wait()`.
    """

    def __init__(self, *, end: Callable[[int], None] = os._exit) -> None:
        # os._exit and not the signal's default action: process 1 of a container ignores that.
        self._end = end
        self._event = asyncio.Event()
        self._listened: list[signal.Signals] = []

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        # nohup has a process ignore the end of its terminal, and that stays so.
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._listened = [signum for signum in _SIGNALS if not (signum == signal.SIGHUP and ignored)]
        for signum in self._listened:
            loop.add_signal_handler(signum, self._on_signal, signum)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        loop = asyncio.get_running_loop()
        for signum in self._listened:
            loop.remove_signal_handler(signum)

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        """Ask for the shutdown without a signal."""
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    def _on_signal(self, signum: int) -> None:
        name = signal.Signals(signum).name
        if self.requested:
            _log.warning("second signal (%s): ending at once", name)
            self._end(128 + signum)
            return
        _log.info("%s: shutting down; another one ends it at once", name)
        self.request()
