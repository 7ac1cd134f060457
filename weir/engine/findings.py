"""Collects the faults of a document. Each fault is reported once, and faults that only follow from another are suppressed.
Pure."""

from __future__ import annotations

from collections.abc import Sequence

from weir.engine.document import Document, Fault, Path

__all__ = ["Findings"]


class Findings:
    """Collects faults by position. A value with a fault is marked as doubtful; checks that depend on it are skipped."""

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
        """Sorted by line, because people correct a file from top to bottom."""
        return sorted(self._faults.values(), key=lambda fault: fault.line)

    def add(self, path: Path, reason: str) -> None:
        """Record a fault, and mark the value as doubtful."""
        self.note(path, reason)
        self.doubt(path)

    def note(self, path: Path, reason: str) -> None:
        """Record a fault where there may be several at one position."""
        self._note(Fault(self._document.line(path), path, reason))

    def doubt(self, path: Path) -> None:
        self._doubted.add(path)
        self._around.update(path[:length] for length in range(1, len(path)))

    def doubts(self, *paths: Path) -> bool:
        """Whether one of these values, a part of it, or a value that contains it is doubtful."""
        return any(
            path in self._around or any(path[:length] in self._doubted for length in range(len(path) + 1)) for path in paths
        )

    def _note(self, fault: Fault) -> None:
        # Keyed by its text, so that a fault in an aliased value is reported once, where it was written.
        self._faults.setdefault((fault.line, str(fault)), fault)
