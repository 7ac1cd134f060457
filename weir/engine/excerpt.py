"""Which lines a terminal is shown of more than it can show: the first and the last of each period, and how many were left out.

Pure: lines in, lines out; whoever uses it decides when a period ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

__all__ = ["LAST", "LEAST", "ROWS", "Excerpt"]

ROWS = 1000
"""Of a terminal, in a period, for the first lines of all speakers together. In a second that is a hundred kilobytes, which every
terminal takes, and more than anybody reads."""
LEAST = 50
"""Of those, for each speaker however many there are."""
LAST = 20
"""Lines that are shown of the end of each speaker's period: how something ended matters as much as how it began."""
ROW = 100
"""Characters of a line that take one row, about."""


class _Said:
    """By one speaker in the period."""

    __slots__ = ("last", "left_out", "rows")

    def __init__(self) -> None:
        self.rows = self.left_out = 0
        self.last: deque[str] = deque(maxlen=LAST)


class Excerpt:
    """Of one period, which goes on until `end`."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def take(self, speaker: str, lines: Sequence[str]) -> Sequence[str]:
        """Those of the lines that are to be shown now."""
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
        """What is to be shown now of each speaker who said too much. The next period begins."""
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
    """For people."""
    return f"… {count:,} {'line' if count == 1 else 'lines'} left out"
