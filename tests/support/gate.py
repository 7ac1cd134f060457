"""A file that apps of tests wait for, so that requests and starts last exactly as long as a test needs, without sleeping."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Gate"]


class Gate:
    """Closed until it is opened. The apps of tests answer requests for `path`, and some start, only when `file` exists."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "gate"
        self.path = f"/until{self.file}"

    def open(self) -> None:
        self.file.touch()
