"""One process of the engine: started at once, its output passed on, its exit detected, its whole process group ended.

Does not restart the process, and knows nothing about apps: see supervisor.py and replica.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fleet.runtime.backlog import Backlog
from fleet.runtime.pipe import PipeReader
from weir.engine.inherited import handing_down, mark_of
from weir.engine.lines import Lines, always, backlog
from weir.engine.listening import listening
from weir.engine.reaper import HAS_PROC, group_members
from weir.engine.reaper_handle import ReaperHandle

__all__ = ["Child", "Launch", "SpawnError", "describe_exit"]

MARK = "WEIR_PROCESS"
"""Environment variable, unique per process, that its descendants inherit; used to find those that left the process group."""
GROUP_PAUSE = 0.02
"""Seconds between two checks whether the rest of a process group has ended."""
LOOKS = 50
"""Checks before giving up: a process that does not end within a second of SIGKILL cannot be ended by the engine."""
OUTPUT_TIMEOUT = 0.2
"""Seconds to read the last output of a process that has ended; if there is much output, only a part is read."""


class SpawnError(Exception):
    """The process could not be started. The message is one line."""


class Launch:
    """What to start: command, environment and working directory."""

    __slots__ = ("command", "cwd", "env")

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        self.command, self.env, self.cwd = tuple(command), dict(env), cwd


class Child:
    """A running process, the leader of its own session, so that a signal to its group also reaches the processes it started.

    Needs a running loop. `on_lines` is called on the loop's thread with lines of standard output and standard error; `behind`
    bounds how many lines are handled per turn, and nothing is read while `has_room` is false. Raises SpawnError.
    """

    def __init__(
        self,
        launch: Launch,
        reaper: ReaperHandle,
        *,
        on_lines: Callable[[Sequence[str]], None],
        has_room: Callable[[], bool] = always,
        behind: Backlog | None = None,
    ) -> None:
        self._reaper = reaper
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._mark = f"{MARK}={secrets.token_hex(16)}"
        self._inherited = mark_of(reaper.marks)
        self._process = _spawn(launch, reaper, self._mark, self._inherited)
        self.pid = self._process.pid
        self.left_behind = False
        """Whether descendants outlived the process and were killed."""
        reaper.track(self.pid)
        self._lines = Lines(on_lines, behind or backlog(), has_room)
        self._output = self._loop.create_task(self._tell_lines(), name=f"output of process {self.pid}")
        # Popen.wait on a thread: it reports the exit status in the same way on every platform.
        threading.Thread(target=self._wait, name=f"wait for process {self.pid}", daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._exit.result() if self._exit.done() else None

    async def wait(self) -> int:
        """Wait until the process has ended; returns the exit code."""
        return await asyncio.shield(self._exit)

    async def listening(self) -> Sequence[tuple[str, int]]:
        """Addresses and ports on which it or its descendants listen. Empty where the system does not provide this."""
        return await asyncio.to_thread(lambda: listening(self._members()))

    async def stop(self, grace: float) -> None:
        """SIGTERM to the process and its descendants, SIGKILL after `grace` seconds. Returns when all have ended."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                _signal_each(await asyncio.to_thread(self._strays), signal.SIGTERM)
                await self.wait()
                while await asyncio.to_thread(self._has_members):  # noqa: ASYNC110  no event exists for this
                    await asyncio.sleep(GROUP_PAUSE)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to everything that is left. Call it also after the process has ended by itself, for its descendants."""
        if self._exit.done():
            self.left_behind = await asyncio.to_thread(self._has_members)
        self._signal(signal.SIGKILL)
        await self.wait()
        for _ in range(LOOKS):
            if not (strays := await asyncio.to_thread(self._strays)):
                break
            self.left_behind = True
            _signal_each(strays, signal.SIGKILL)
            await asyncio.sleep(GROUP_PAUSE)
        self._reaper.release(self.pid)
        await self._last_lines()
        self._output.cancel()
        await asyncio.wait([self._output])

    async def _last_lines(self) -> None:
        """Read the remaining output of the group. With a time limit, because a descendant that left the group may keep the
        pipe open."""
        due, passed_on = self._lines.received + self._unread(), -1
        while not self._output.done() and passed_on < self._lines.passed_on < due:
            passed_on = self._lines.passed_on
            await asyncio.wait([self._output], timeout=OUTPUT_TIMEOUT)
        # Everything written was read, but the end of file or the rest of a line may still be outstanding.
        await asyncio.wait([self._output], timeout=OUTPUT_TIMEOUT)

    def _unread(self) -> int:
        pipe = self._process.stdout
        if pipe is None or pipe.closed:
            return 0
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            # On macOS, PermissionError means that only zombies are left.
            return False
        return True

    def _members(self) -> set[int]:
        """All its processes: the group, and descendants that left it, as daemons do, but still carry one of the marks."""
        limits = range(self._inherited, self._inherited + 1)
        return group_members({self.pid}, self._mark.encode(), limits) if HAS_PROC else set()

    def _strays(self) -> set[int]:
        """Descendants that left the process group, so that signals to the group do not reach them."""
        return {pid for pid in self._members() if _group_of(pid) not in (None, self.pid)}

    def _has_members(self) -> bool:
        return bool(self._members()) if HAS_PROC else self._signal(0)

    def _wait(self) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: no caller waits any more
            self._loop.call_soon_threadsafe(self._exited, code)

    def _exited(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)

    async def _tell_lines(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 -- as _spawn asks
        pipe = PipeReader(self._process.stdout, self._lines)
        try:
            await self._lines.ended.wait()
        finally:
            pipe.close()
            self._lines.abandon()


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None  # the process has ended


def _signal_each(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _spawn(launch: Launch, reaper: ReaperHandle, mark: str, inherited: int) -> subprocess.Popen[bytes]:
    try:
        # Not through asyncio: its fork copies the page tables, which grow with the engine, while subprocess's vfork takes 0.1 ms.
        # preexec_fn is not used either: it prevents vfork, and is unsafe with gRPC's threads.
        with handing_down(inherited):
            return subprocess.Popen(  # noqa: S603  running the user's commands is what this is for
                launch.command,
                env={**os.environ, **launch.env, **reaper.environment, **dict([mark.split("=", 1)])},
                cwd=launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SpawnError(f"cannot start {launch.command[0]}: {why}") from error


def describe_exit(code: int) -> str:
    """An exit code for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
