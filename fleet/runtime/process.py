"""What there is one of in a process: its event loop, log, limits, the signals that end it, the exit codes it ends with.

`run_component` is the only place that sets any of it, once, before the loop runs. Knows nothing of what runs on the loop. Only
`run_component` may write to standard error, one line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self, TypeVar

import uvloop

from fleet.runtime.garbage import collect_rarely
from fleet.runtime.logs import configure_logging
from fleet.runtime.settings import SettingsError
from fleet.runtime.terminal import complain

__all__ = ["EXIT_CANNOT_START", "ProcessSettings", "Shutdown", "StartError", "raise_limit_of_files", "run_component"]

EXIT_CANNOT_START = 3
"""Exit code of a component that could not start (the same as uvicorn's)."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger(__name__)


class StartError(Exception):
    """A component could not start: a port in use, a certificate that cannot be read. One line for an operator."""


class ProcessSettings(Protocol):
    """Those of a component's settings that are the process's."""

    @property
    def log_level(self) -> str: ...

    @property
    def log_json(self) -> bool: ...


Settings = TypeVar("Settings", bound=ProcessSettings)


def run_component(load: Callable[[], Settings], main: Callable[[Settings], Awaitable[None]], *, raise_files: bool = True) -> int:
    """Load the settings, set the process up, run main on a new event loop until it returns, and give the exit code.

    `raise_files` is whether the process may have as many files open as it can get; programs that it starts inherit that.
    """
    try:
        settings = load()
        _set_up(settings, raise_files=raise_files)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_awaited(main, settings))
    except (SettingsError, StartError) as error:
        complain(f"error: {' '.join(str(error).split())}")
        return EXIT_CANNOT_START
    except KeyboardInterrupt:
        # SIGINT before the component listened for signals.
        return 128 + signal.SIGINT
    return 0


def raise_limit_of_files() -> None:
    """Raise the process's soft limit of open files to its hard limit, which takes no privilege."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems have a hard limit that the soft one may not reach
        _log.warning("the limit of %d open files could not be raised to %d", soft, hard)


def _set_up(settings: ProcessSettings, *, raise_files: bool) -> None:
    configure_logging(settings.log_level, settings.log_json)
    collect_rarely()
    if raise_files:
        raise_limit_of_files()


async def _awaited(main: Callable[[Settings], Awaitable[None]], settings: Settings) -> None:
    await main(settings)


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
