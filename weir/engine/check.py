"""The command that says whether a started process is ready, such as pg_isready: one run of it at a time, each in bounded time."""

from __future__ import annotations

import asyncio
from collections import deque

from weir.engine.child import Child, Launch, SpawnError, describe_exit
from weir.engine.error_line import KEPT_LINES, error_line
from weir.engine.reaper_handle import ReaperHandle

__all__ = ["Check"]

CHECK_SECONDS = 5.0
"""Longest run of the command: then it is ended, with all that it has started, and says nothing good."""


class Check:
    """A command of an app, with the environment and the directory of its process."""

    def __init__(self, launch: Launch, reaper: ReaperHandle) -> None:
        self.said = ""
        """Why the last run was no success; empty before the first one."""
        self._launch = launch
        self._reaper = reaper

    async def passes(self) -> bool:
        """Run it. Whether it has ended with exit code 0."""
        lines: deque[str] = deque(maxlen=KEPT_LINES)
        try:
            child = Child(self._launch, self._reaper, on_lines=lines.extend)
        except SpawnError as error:
            self.said = f"cannot be run: {error}"
            return False
        code = None
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                code = await child.wait()
        except TimeoutError:
            pass
        finally:
            await child.kill()
        how = f"took longer than {CHECK_SECONDS:g} s" if code is None else f"ended with {describe_exit(code)}"
        line = error_line(lines)
        self.said = "" if code == 0 else f"{how}: {line}" if line else how
        return code == 0
