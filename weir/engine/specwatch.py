"""Waiting for the file of apps to change, or one of the files that it names. Reads nothing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fleet.runtime.watch import FileWatch

__all__ = ["SpecWatch"]


class SpecWatch:
    """Make one within a running loop. One caller waits at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._others: frozenset[Path] = frozenset()
        self._watch = FileWatch([file])
        self._moved = False

    def start(self) -> None:
        """What changes from now on ends the next `wait`."""
        self._watch.start()

    async def also(self, others: Collection[Path]) -> None:
        """Watch these files too, and no others."""
        wanted = frozenset(others)
        if wanted == self._others:
            return
        self._others = wanted
        before, self._watch = self._watch, FileWatch([self._file, *sorted(wanted)])
        self._watch.start()
        # They were read before they were watched.
        self._moved = True
        await before.close()

    async def wait(self, longest: float) -> None:
        """Until a file may have changed, or for so many seconds."""
        if self._moved:
            self._moved = False
            return
        await self._watch.wait(longest)

    async def close(self) -> None:
        await self._watch.close()
