"""Chooses, from the last output of a process, the line that best explains why it ended. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fleet.runtime.terminal import one_line

__all__ = ["KEPT_LINES", "error_line"]

KEPT_LINES = 30
"""Number of last lines that are searched; enough for a stack trace."""
MAX_LENGTH = 300
_TELLING = re.compile(r"error|exception|panic|fatal|cannot|not found|denied|failed", re.IGNORECASE)


def error_line(lines: Iterable[str]) -> str:
    """The last line that names an error and is not indented, as the lines of a stack trace are; else the last non-empty line.

    Safe for a terminal and for a page; empty when nothing was written.
    """
    cleaned = [one_line(line).rstrip()[:MAX_LENGTH] for line in lines]
    written = [line for line in cleaned if line.strip()]
    telling = [line for line in written if not line[0].isspace() and _TELLING.search(line)]
    return (telling or written or [""])[-1].strip()
