"""Limits the output shown on a terminal: of each period the first and last lines, and the number of lines left out.

Pure: lines in, lines out. The caller decides when a period ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

__all__ = ["LAST", "LEAST", "ROWS", "Excerpt"]

ROWS = 1000
"""Terminal rows per period for the first lines of all speakers together. At one period per second this is about 100 KB/s,
which every terminal can show, and more than anybody can read."""
LEAST = 50
"""Rows of each speaker in any case, however many speakers there are."""
LAST = 20
"""Lines shown of the end of each speaker's period, because the last lines usually say why a process ended."""
ROW = 100
"""Characters per terminal row, for the estimate how many rows a line takes."""


class _Said:
    """What one speaker wrote in the period."""

    __slots__ = ("last", "left_out", "rows")

    def __init__(self) -> None:
        self.rows = self.left_out = 0
        self.last: deque[str] = deque(maxlen=LAST)


class Excerpt:
    """One period, which lasts until `end`."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def take(self, speaker: str, lines: Sequence[str]) -> Sequence[str]:
        """Record lines of a speaker; returns those to show now."""
        said = self._said.get(speaker)
        if said is None:
            said = self._said[speaker] = _Said()
        most = max(LEAST, ROWS // len(self._said))
        for number, line in enumerate(lines):
            if said.rows >= most:
                _keep(said, lines[number:])
                return lines[:number]
            said.rows += 1 + len(line) // ROW
        return lines

    def end(self) -> list[tuple[str, list[str]]]:
        """End the period: returns the lines still to show of each speaker that had lines left out."""
        ends = [(speaker, _end(said)) for speaker, said in self._said.items() if said.last]
        self._said.clear()
        return ends


def _keep(said: _Said, lines: Sequence[str]) -> None:
    before = len(said.last) + said.left_out
    said.last.extend(lines)
    said.left_out = before + len(lines) - len(said.last)


def _end(said: _Said) -> list[str]:
    note = [left_out(said.left_out)] if said.left_out else []
    return [*note, *said.last]


def left_out(count: int) -> str:
    """The line that says how many lines were left out."""
    return f"… {count:,} {'line' if count == 1 else 'lines'} left out"
