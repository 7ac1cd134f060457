"""Splits the output of a process into lines that are safe to show.

One read may contain tens of thousands of short lines. So only a bounded part is handled at a time, in turn with the output of
other processes. Until everything has been handled nothing more is read, and the process blocks in its write, as it would with a
terminal that does not keep up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from fleet.runtime.backlog import Backlog
from fleet.runtime.terminal import shown

__all__ = ["MAX_LINE", "PART_BYTES", "PART_LINES", "Lines", "always", "backlog"]

MAX_LINE = 8 * 1024
"""Bytes of one line; a longer line is passed on in pieces, so that a process cannot fill the memory."""
PART_LINES = 32
PART_BYTES = 2 * 1024
"""One part is at most PART_LINES lines or PART_BYTES bytes, whichever comes first; a single line may have MAX_LINE bytes. A
part takes a few hundredths of a millisecond, up to 0.5 ms if it consists of control characters."""
REST = 0.001
"""Seconds between two slices for all processes that are behind. A slice is a quarter of that, so that processes that print
without end use a fifth of the event loop, and not a whole core."""
ROOM_PAUSE = 0.02
"""Seconds between two checks whether lines can be passed on again."""


def always() -> bool:
    """The default `has_room`, for a receiver that accepts everything."""
    return True


def backlog() -> Backlog:
    """A backlog for processes that share one receiver."""
    return Backlog(rest=REST)


class Lines(asyncio.Protocol):
    """Reads the pipe of one process. `tell` gets at most PART_LINES lines per call, and is called only while `has_room` is
    true."""

    def __init__(self, tell: Callable[[Sequence[str]], None], behind: Backlog, has_room: Callable[[], bool] = always) -> None:
        self.ended = asyncio.Event()
        """Set when all output has been passed on."""
        self.received = 0
        """Bytes received since the start."""
        self._tell, self._backlog, self._has_room = tell, behind, has_room
        self._transport: asyncio.ReadTransport | None = None
        self._data, self._start = b"", 0
        self._behind = self._at_end = False

    @property
    def passed_on(self) -> int:
        """Bytes of what was received that were passed on or discarded."""
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
        """Discard the rest: no caller waits for it."""
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
        """The next lines, and whether there may be more."""
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
