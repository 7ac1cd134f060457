"""How a process begins and ends: exit codes and signals, with real processes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fleet.runtime.garbage import THRESHOLDS
from fleet.runtime.process import EXIT_CANNOT_START, Shutdown, StartError, run_component
from fleet.runtime.settings import SettingsError

PROGRAM = """
import asyncio, signal, sys
from types import SimpleNamespace
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have had them ignore it
from fleet.runtime.process import Shutdown, run_component

async def main(settings):
    with Shutdown() as shutdown:
        print(type(asyncio.get_running_loop()).__module__, flush=True)
        await shutdown.wait()
        print("asked", flush=True)
        {then}

sys.exit(run_component(lambda: SimpleNamespace(log_level='warning', log_json=False), main))
"""


def started(then: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(then=then)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "uvloop\n"
    return process


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_for_the_shutdown(signum: signal.Signals) -> None:
    with started() as process:
        process.send_signal(signum)
        assert process.communicate(timeout=120)[0] == "asked\n"
    assert process.returncode == 0


def test_a_second_signal_ends_at_once() -> None:
    with started("await asyncio.Event().wait()") as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT


async def test_a_second_signal_is_counted_whatever_the_first_was() -> None:
    ends: list[int] = []
    with Shutdown(end=ends.append) as shutdown:
        assert not shutdown.requested
        shutdown.request()
        await shutdown.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(60):
            while not ends:  # noqa: ASYNC110 - a signal handler is no coroutine
                await asyncio.sleep(0)
    assert ends == [128 + signal.SIGTERM]


async def test_signals_are_given_back() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGHUP)]
    with Shutdown():
        pass
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGHUP)] == before


@dataclass
class Settings:
    log_level: str = "warning"
    log_json: bool = False


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What a run sets is set for the whole process, which is that of the tests."""
    root, asyncios = logging.getLogger(), logging.getLogger("asyncio")
    before = root.handlers[:], root.level, asyncios.level
    thresholds, files = gc.get_threshold(), resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    asyncios.setLevel(before[2])
    gc.set_threshold(*thresholds)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


@pytest.mark.parametrize("raise_files", [True, False])
def test_a_process_is_set_up_before_its_loop_runs(*, raise_files: bool) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(max(256, *map(int, os.listdir("/dev/fd"))) + 64, hard)  # what other tests keep open goes on to work
    seen: list[tuple[int, tuple[int, int, int], tuple[int, int], int]] = []

    async def main(settings: Settings) -> None:
        root = logging.getLogger()
        seen.append((root.level, gc.get_threshold(), resource.getrlimit(resource.RLIMIT_NOFILE), len(root.handlers)))

    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    assert run_component(lambda: Settings("error"), main, raise_files=raise_files) == 0
    assert seen == [(logging.ERROR, THRESHOLDS, (hard if raise_files else few, hard), 1)]


def test_settings_that_are_wrong_set_nothing_up(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_: Settings) -> None:
        raise AssertionError("not reached")

    before = gc.get_threshold()
    assert run_component(lambda: Settings("loud"), main) == EXIT_CANNOT_START
    assert "log level 'loud'" in capsys.readouterr().err
    assert gc.get_threshold() == before


@pytest.mark.parametrize("kind", [SettingsError, StartError])
def test_what_cannot_start_says_so_in_one_line(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_: Settings) -> None:
        raise kind("WEIR_PROXY_PORT: \n wrong")

    assert run_component(Settings, main) == EXIT_CANNOT_START == 3
    assert capsys.readouterr().err == "error: WEIR_PROXY_PORT: wrong\n"


def test_any_other_failure_is_not_hidden() -> None:
    async def main(_: Settings) -> None:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        run_component(Settings, main)


def test_a_component_that_returns_is_fine() -> None:
    async def main(_: Settings) -> None:
        return None

    assert run_component(Settings, main) == 0
