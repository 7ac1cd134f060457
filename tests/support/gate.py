"""What apps of tests wait for: a file, so that requests and starts last as long as a test needs them, and no guess is made."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Gate"]


class Gate:
    """Closed until it is opened. The apps of tests know `path` as one to ask for, and some know `file` as one to wait for."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "gate"
        self.path = f"/until{self.file}"

    def open(self) -> None:
        self.file.touch()
