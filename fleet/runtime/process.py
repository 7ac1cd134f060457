"""What exists once per process: event loop, log, limits, signal handlers, exit codes.

`run_component` is the only place that sets these, once, before the loop runs, and the only one that may write to standard error
(one line). Knows nothing about what runs on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import uvloop

from fleet.runtime.garbage import collect_rarely
from fleet.runtime.logs import configure_logging
from fleet.runtime.settings import SettingsError
from fleet.runtime.terminal import complain

__all__ = [
    "EXIT_CANNOT_START",
    "ProcessSettings",
    "Shutdown",
    "StartError",
    "on_unraisable",
    "raise_limit_of_files",
    "run_component",
]

EXIT_CANNOT_START: Final = 3
"""Exit code of a component that could not start; the same as uvicorn's."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger(__name__)


class StartError(Exception):
    """A component could not start, for example because a port is in use or a certificate cannot be read. One line for an
    operator."""


class ProcessSettings(Protocol):
    """The settings of a component that concern the process."""

    @property
    def log_level(self) -> str: ...

    @property
    def log_json(self) -> bool: ...


Settings = TypeVar("Settings", bound=ProcessSettings)


def run_component(load: Callable[[], Settings], main: Callable[[Settings], Awaitable[None]], *, raise_files: bool = True) -> int:
    """Load the settings, set up the process, run main on a new event loop until it returns; returns the exit code.

    `raise_files` is whether to raise the limit of open files to its maximum; child processes inherit the limit.
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
        # SIGINT before the component's signal handlers were installed.
        return 128 + signal.SIGINT
    return 0


def raise_limit_of_files() -> None:
    """Raise the soft limit of open files to the hard limit, which needs no privilege."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # on some systems the soft limit cannot be raised to the hard limit
        _log.warning("the limit of %d open files could not be raised to %d", soft, hard)


def _set_up(settings: ProcessSettings, *, raise_files: bool) -> None:
    configure_logging(settings.log_level, settings.log_json)
    sys.unraisablehook = on_unraisable
    collect_rarely()
    if raise_files:
        raise_limit_of_files()


def on_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Print an exception that no code can catch, with its traceback; except one that clients can cause at any rate: a host name
    in a TLS handshake (SNI) that is not ASCII. Python ends the handshake, which is counted as failed."""
    if isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes):
        _log.debug("a host name in a TLS handshake is not ASCII")
    else:
        sys.__unraisablehook__(unraisable)


async def _awaited(main: Callable[[Settings], Awaitable[None]], settings: Settings) -> None:
    await main(settings)


class Shutdown:
    """Set by SIGTERM, SIGINT, or SIGHUP (the terminal was closed); a second signal ends the process at once.

    Use it as a context manager on the main thread with a running loop: `with Shutdown() as shutdown: ...; await shutdown.wait()`.
    """

    def __init__(self, *, end: Callable[[int], None] = os._exit) -> None:
        # os._exit and not the signal's default action, which is ignored for process 1 of a container.
        self._end = end
        self._event = asyncio.Event()
        self._listened: list[signal.Signals] = []

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        # Under nohup, SIGHUP is ignored, and must stay so.
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
        """Request the shutdown without a signal."""
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
