"""Of the last lines that a process wrote, the one that says best why it ended. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fleet.runtime.terminal import one_line

__all__ = ["KEPT_LINES", "last_words"]

KEPT_LINES = 30
"""Lines of a process that are looked at: the trace of an error is as long."""
MAX_LENGTH = 300
_TELLING = re.compile(r"error|exception|panic|fatal|cannot|not found|denied|failed", re.IGNORECASE)


def last_words(lines: Iterable[str]) -> str:
    """The last line that names an error, and is no step of its trace (those are indented); else the last one with anything in it.

    Fit for a terminal and for a page; empty when nothing was written.
    """
    cleaned = [one_line(line).rstrip()[:MAX_LENGTH] for line in lines]
    written = [line for line in cleaned if line.strip()]
    telling = [line for line in written if not line[0].isspace() and _TELLING.search(line)]
    return (telling or written or [""])[-1].strip()
