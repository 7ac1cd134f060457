"""A plugin of pytest: a test that hangs ends, and says where it hung, whatever it hangs in.

pytest-timeout raises an exception in a signal's handler. uvloop runs that handler in a callback and drops what it raises, code in
C does not run it at all, and after a failure neither it nor pytest watches what ends the test. So a coroutine also has its limit
as a wait around it, the signal comes later, and some time after that, if nothing else helped, the process ends with the stacks
of its threads on the terminal: pytest-xdist replaces a worker, and the test that it ran is a failure.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import inspect
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

import pytest

__all__ = ["GRACE"]

GRACE: Final = 30.0
"""Seconds after a test's limit in which it may still end by itself."""

_terminal: Final = pytest.StashKey[int]()
_limit: Final = pytest.StashKey[float]()


class Settings:
    """Of pytest-timeout, for one test."""

    timeout: float | None


def pytest_configure(config: pytest.Config) -> None:
    # Later the file descriptor of the error stream may be a file in which pytest keeps what a test prints.
    config.stash[_terminal] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_terminal])


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Settings) -> Generator[None, object, object]:
    done = yield
    if settings.timeout is None or item.config.getoption("usepdb"):
        return done
    item.stash[_limit] = settings.timeout
    _watch(item)
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _limited(item.obj, settings.timeout)
        # What a signal's handler raises in the very callback by which the wait ends would be dropped together with that end.
        signal.setitimer(signal.ITIMER_REAL, settings.timeout + GRACE / 2)
    return done


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    _watch(item)  # again: of a test that failed nothing is watched any more


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _watch(item: pytest.Item) -> None:
    if (seconds := item.stash.get(_limit, None)) is not None:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=item.config.stash[_terminal])


def _limited(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    """The same test. Raises TimeoutError, caused by the wait it was in."""

    @functools.wraps(test)
    async def limited(*args: Any, **fixtures: Any) -> None:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await test(*args, **fixtures)
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(f"the test still waited after {seconds:g} s") from error
            raise

    return limited
