"""A file of JSON lines that another process goes on appending to."""

import json
from pathlib import Path
from typing import Any

__all__ = ["JsonLines"]


class JsonLines:
    """read() returns every line that is written whole; what has been parsed is not parsed again.

    A reader sees part of a line while it is being written: the kernel makes a write visible page by page.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: list[dict[str, Any]] = []
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """All lines so far, oldest first; none before the file exists."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        self._read.extend(json.loads(line) for line in whole.split(b"\n") if line)
        return self._read
