"""The engine's side of the reaper, the process that cleans up after an engine that was killed.

Tells the reaper which process groups run, and replaces a reaper that has died. See reaper.py for what the reaper does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from weir.engine import reaper
from weir.engine.inherited import handing_down, marks

__all__ = ["ReaperHandle"]

END_TIMEOUT = 15.0
"""Seconds for the reaper's final cleanup, which has its own, shorter limit."""

_log = logging.getLogger(__name__)


class ReaperHandle:
    """Starts and owns the reaper process. The reaper removes `directory` when everything has ended.

    Writes are a few bytes to a pipe that the reaper reads continuously, so in practice they do not block.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._mark = secrets.token_hex(16)
        self.marks = marks()
        """One mark for each process of the engine, inherited by its descendants: see inherited.py."""
        self._directories = [str(directory)] if directory else []
        self._groups: set[int] = set()
        self._process = self._started()

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables that every process of the engine must have."""
        return {reaper.MARK: self._mark}

    def track(self, group: int) -> None:
        """Record a process group that must not outlive the engine."""
        self._groups.add(group)
        self._tell(f"track {group}\n")

    def release(self, group: int) -> None:
        """Remove a process group that has ended."""
        self._groups.discard(group)
        self._tell(f"release {group}\n")

    def close(self) -> None:
        """Let the reaper do its final cleanup and end. Blocks until it has."""
        self._hang_up()
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            _log.warning("the reaper did not end, it is killed")
            self._process.kill()
            self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-I",
            "-S",
            reaper.__file__,
            self._mark,
            str(self.marks[0]),
            str(self.marks[-1]),
            *self._directories,
        ]
        # In its own session, so that a signal to the engine's session, such as Ctrl-C, does not end the reaper. With an empty
        # environment and no mark, so that an engine that runs inside another engine's app does not have its reaper killed as part
        # of that app.
        with handing_down(None):
            return subprocess.Popen(  # noqa: S603  our own interpreter and script
                command,
                env={},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=os.sep,
                start_new_session=True,
            )

    def _tell(self, order: str) -> None:
        try:
            self._write(order)
        except OSError:
            _log.warning("the reaper is gone, another one is started")
            self._hang_up()
            self._process.wait()
            self._process = self._started()
            self._write("".join(f"track {group}\n" for group in self._groups))

    def _write(self, orders: str) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            pipe.write(orders.encode())
            pipe.flush()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
