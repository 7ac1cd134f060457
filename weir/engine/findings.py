"""What is wrong in a document, found bit by bit: each fault told once, and none that only follows from another. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from weir.engine.document import Document, Fault, Path

__all__ = ["Findings"]


class Findings:
    """Takes faults by their place. What was found wrong is doubted from then on: conclusions from it are not told."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._faults: dict[tuple[int, str], Fault] = {}
        self._doubted: set[Path] = set()
        self._around: set[Path] = set()
        for fault in document.faults:
            self._note(fault)
            self.doubt(fault.path)

    @property
    def faults(self) -> Sequence[Fault]:
        """In the order of the file, for people mend files from the top."""
        return sorted(self._faults.values(), key=lambda fault: fault.line)

    def add(self, path: Path, reason: str) -> None:
        """Something wrong, and nothing to be concluded from it."""
        self.note(path, reason)
        self.doubt(path)

    def note(self, path: Path, reason: str) -> None:
        """Something wrong, of which there may be more in the same place."""
        self._note(Fault(self._document.line(path), path, reason))

    def doubt(self, path: Path) -> None:
        self._doubted.add(path)
        self._around.update(path[:length] for length in range(1, len(path)))

    def doubts(self, *paths: Path) -> bool:
        """Whether one of these values, a part of it or what it is a part of, was found wrong."""
        return any(
            path in self._around or any(path[:length] in self._doubted for length in range(len(path) + 1)) for path in paths
        )

    def _note(self, fault: Fault) -> None:
        # By its text: what an alias repeats is told where it was written, once.
        self._faults.setdefault((fault.line, str(fault)), fault)
