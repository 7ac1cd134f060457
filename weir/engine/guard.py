"""The engine's end of the keeper, the process that cleans up after an engine that was killed.

Tells the keeper what runs; starts another one when it is lost. What the keeper does is in keeper.py.
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

from weir.engine import keeper
from weir.engine.inherited import handing_down, marks

__all__ = ["Guard"]

END_TIMEOUT = 15.0
"""Seconds for the keeper's last look around, which it bounds itself."""

_log = logging.getLogger(__name__)


class Guard:
    """Owns the keeper. `directory` is removed when everything has ended.

    Writes are a few bytes into a pipe that the keeper always reads; they do not block in practice.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._mark = secrets.token_hex(16)
        self.marks = marks()
        """What processes of the engine inherit, one for each: see inherited.py."""
        self._directories = [str(directory)] if directory else []
        self._groups: set[int] = set()
        self._keeper = self._started()

    @property
    def environment(self) -> Mapping[str, str]:
        """What every process of the engine must have in its environment."""
        return {keeper.MARK: self._mark}

    def keep(self, group: int) -> None:
        """This process group must not outlive the engine."""
        self._groups.add(group)
        self._tell(f"keep {group}\n")

    def release(self, group: int) -> None:
        """This process group has ended."""
        self._groups.discard(group)
        self._tell(f"release {group}\n")

    def close(self) -> None:
        """Let the keeper look around a last time and end. Blocks until it has."""
        self._hang_up()
        try:
            self._keeper.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            _log.warning("the keeper did not end, it is killed")
            self._keeper.kill()
            self._keeper.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-I",
            "-S",
            keeper.__file__,
            self._mark,
            str(self.marks[0]),
            str(self.marks[-1]),
            *self._directories,
        ]
        # Its own session: what ends the engine, a terminal's Ctrl-C included, must not end the keeper. An empty
        # environment, and no mark: the keeper of an engine inside an engine must not look like one of the outer one's apps.
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
            _log.warning("the keeper is gone, another one is started")
            self._hang_up()
            self._keeper.wait()
            self._keeper = self._started()
            self._write("".join(f"keep {group}\n" for group in self._groups))

    def _write(self, orders: str) -> None:
        pipe = self._keeper.stdin
        if pipe is not None:
            pipe.write(orders.encode())
            pipe.flush()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            if self._keeper.stdin is not None:
                self._keeper.stdin.close()
