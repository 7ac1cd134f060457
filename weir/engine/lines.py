"""What a process writes, cut into lines that are safe to show. Knows neither the process nor who is told.

A read of lines of one character each is tens of thousands of lines. So a bounded part of a read is told at a time, in turn
with other processes that are behind; until all of it has been told no more is read, and the process waits in its write, as
it would at a terminal that does not keep up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from fleet.runtime.backlog import Backlog
from fleet.runtime.terminal import shown

__all__ = ["MAX_LINE", "PART_BYTES", "PART_LINES", "Lines", "always", "backlog"]

MAX_LINE = 8 * 1024
"""Bytes of a line of output; a longer one is told in pieces, so that a process cannot fill the memory."""
PART_LINES = 32
PART_BYTES = 2 * 1024
"""Told at once: as many lines, or lines of as many bytes together, whichever comes first. A line of MAX_LINE is the most that one
part can be; it takes a few hundredths of a millisecond, or half a one if all of it is control characters."""
REST = 0.001
"""Seconds between two slices for all that are behind. A slice is a quarter of that, so that processes that print without end take
a fifth of the loop, and not all of a processor."""
ROOM_PAUSE = 0.02
"""Seconds between two looks whether there is room again for somebody's lines."""


def always() -> bool:
    """There is room for whoever keeps everything."""
    return True


def backlog() -> Backlog:
    """For the processes that are told of together."""
    return Backlog(rest=REST)


class Lines(asyncio.Protocol):
    """Reads the pipe of one process. `tell` gets at most PART_LINES lines at a time, and only when there is room for them."""

    def __init__(self, tell: Callable[[Sequence[str]], None], behind: Backlog, has_room: Callable[[], bool] = always) -> None:
        self.ended = asyncio.Event()
        """All of it has been told."""
        self.received = 0
        """Bytes, ever."""
        self._tell, self._backlog, self._has_room = tell, behind, has_room
        self._transport: asyncio.ReadTransport | None = None
        self._data, self._start = b"", 0
        self._behind = self._at_end = False

    @property
    def told(self) -> int:
        """Bytes of what was received that were told, or left out for good."""
        return self.received - (len(self._data) - self._start)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._data, self._start = self._data[self._start :] + data, 0
        self._fall_behind()

    def connection_lost(self, exc: Exception | None) -> None:
        self._at_end, self._transport = True, None
        self._fall_behind()

    def abandon(self) -> None:
        """Nobody waits for what is left."""
        if b"\n" in self._data[self._start :]:
            self._tell(["… the last lines left out"])
            self._data, self._start = b"", 0

    def catch_up(self) -> bool:
        if not self._has_room():
            asyncio.get_running_loop().call_later(ROOM_PAUSE, self._backlog.add, self)
            return False
        lines, more = self._cut()
        if lines:
            self._tell(lines)
        if not more:
            self._caught_up()
        return more

    def _fall_behind(self) -> None:
        if self._behind:
            return
        self._behind = True
        self._backlog.add(self)
        if self._transport is not None:
            self._transport.pause_reading()

    def _caught_up(self) -> None:
        self._data, self._start = self._data[self._start :], 0
        self._behind = False
        if self._at_end:
            self.ended.set()
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _cut(self) -> tuple[list[str], bool]:
        """The next part, and whether there may be another line."""
        lines, until = list[str](), self._start + PART_BYTES
        while len(lines) < PART_LINES and self._start < until:
            if (line := self._next()) is None:
                return lines, False
            lines.append(shown(line.decode(errors="replace"), colours=True).rstrip())
        return lines, True

    def _next(self) -> bytes | None:
        data, start = self._data, self._start
        end = data.find(b"\n", start, start + MAX_LINE + 1)
        if end >= 0:
            self._start = end + 1
            return data[start:end]
        left = len(data) - start
        if left > MAX_LINE or (self._at_end and left):
            self._start = min(start + MAX_LINE, len(data))
            return data[start : self._start]
        return None
