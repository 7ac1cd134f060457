"""One process of the engine: started at once, its lines told, its end noticed, its whole group ended.

Does not restart and knows no app: see replica.py and supervisor.py.
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
from weir.engine.guard import Guard
from weir.engine.inherited import handing_down, mark_of
from weir.engine.keeper import HAS_PROC, group_members
from weir.engine.lines import Lines, always, backlog
from weir.engine.listening import listening

__all__ = ["Child", "Launch", "SpawnError", "describe_exit"]

MARK = "WEIR_PROCESS"
"""Environment variable that a process and all that it starts carry; its value is the process's own."""
GROUP_PAUSE = 0.02
"""Seconds between two looks whether the rest of a process group has ended."""
LOOKS = 50
"""Looks for what is left; what is killed and does not end in a second is not the engine's to end."""
OUTPUT_TIMEOUT = 0.2
"""Seconds for the last lines of a process that has ended, or for some of them if they are many."""


class SpawnError(Exception):
    """The process could not be started. One line."""


class Launch:
    """What to start: values only."""

    __slots__ = ("command", "cwd", "env")

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        self.command, self.env, self.cwd = tuple(command), dict(env), cwd


class Child:
    """A running process, the leader of a session of its own: a signal to its group reaches what it started itself.

    Needs a running loop. `on_lines` gets the lines of its output, standard error included, on the loop's thread: a bounded part
    in its turn in `behind`, and none while there is no room for them. Raises SpawnError.
    """

    def __init__(
        self,
        launch: Launch,
        guard: Guard,
        *,
        on_lines: Callable[[Sequence[str]], None],
        has_room: Callable[[], bool] = always,
        behind: Backlog | None = None,
    ) -> None:
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._mark = f"{MARK}={secrets.token_hex(16)}"
        self._inherited = mark_of(guard.marks)
        self._process = _spawn(launch, guard, self._mark, self._inherited)
        self.pid = self._process.pid
        self.left_behind = False
        """Whether something outlived it, and was killed."""
        guard.keep(self.pid)
        self._lines = Lines(on_lines, behind or backlog(), has_room)
        self._output = self._loop.create_task(self._tell_lines(), name=f"output of process {self.pid}")
        # A thread waits, because only the one that waits learns how a process ended, on every system alike.
        threading.Thread(target=self._wait, name=f"wait for process {self.pid}", daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._exit.result() if self._exit.done() else None

    async def wait(self) -> int:
        """The exit code, once the process has ended."""
        return await asyncio.shield(self._exit)

    async def listening(self) -> Sequence[tuple[str, int]]:
        """Addresses and ports that it or what it started listens on. Empty where the system does not tell."""
        return await asyncio.to_thread(lambda: listening(self._members()))

    async def stop(self, grace: float) -> None:
        """SIGTERM to all of it, SIGKILL after `grace` seconds. Returns when nothing of it is left."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                _signal_each(await asyncio.to_thread(self._strays), signal.SIGTERM)
                await self.wait()
                while await asyncio.to_thread(self._has_members):  # noqa: ASYNC110  processes tell nobody of their end
                    await asyncio.sleep(GROUP_PAUSE)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to whatever is left of it. Call it also when the process ended by itself."""
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
        self._guard.release(self.pid)
        await self._last_lines()
        self._output.cancel()
        await asyncio.wait([self._output])

    async def _last_lines(self) -> None:
        """What the group wrote is here or in the pipe; what left the group may hold the pipe open, and write for ever."""
        due, told = self._lines.received + self._unread(), -1
        while not self._output.done() and told < self._lines.told < due:
            told = self._lines.told
            await asyncio.wait([self._output], timeout=OUTPUT_TIMEOUT)
        # All of it, but the end of the pipe is still to be seen, or the rest of a line.
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
            # PermissionError is how macOS tells that only zombies are left.
            return False
        return True

    def _members(self) -> set[int]:
        """All that runs of it: its group, and what left that, as daemons do, and has one of its marks still."""
        limits = range(self._inherited, self._inherited + 1)
        return group_members({self.pid}, self._mark.encode(), limits) if HAS_PROC else set()

    def _strays(self) -> set[int]:
        """Those that have left its group, and do not hear what the group is told."""
        return {pid for pid in self._members() if _group_of(pid) not in (None, self.pid)}

    def _has_members(self) -> bool:
        return bool(self._members()) if HAS_PROC else self._signal(0)

    def _wait(self) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left who wants to know
            self._loop.call_soon_threadsafe(self._exited, code)

    def _exited(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)

    async def _tell_lines(self) -> None:
        transport, _ = await self._loop.connect_read_pipe(lambda: self._lines, self._process.stdout)
        try:
            await self._lines.ended.wait()
        finally:
            transport.close()
            self._lines.abandon()


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None  # it has ended


def _signal_each(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _spawn(launch: Launch, guard: Guard, mark: str, inherited: int) -> subprocess.Popen[bytes]:
    try:
        # Not through asyncio: its fork copies the engine's page tables, which grow with the engine, while this one's
        # vfork takes a tenth of a millisecond. No preexec_fn for the same reason, and for the threads of gRPC.
        with handing_down(inherited):
            return subprocess.Popen(  # noqa: S603  running the user's commands is what this is for
                launch.command,
                env={**os.environ, **launch.env, **guard.environment, **dict([mark.split("=", 1)])},
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
