"""Durations as people write them: "90s", "1m30s", "500ms", and bare numbers, which are seconds. Pure.

The only parser for durations in flags, variables and files. Custom resources use Go's format, which controller.durations parses.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DURATION_HINT", "DURATION_PATTERN", "seconds"]

DURATION_PATTERN: Final = r"^([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$"
"""For texts. In YAML and JSON a duration may also be a number."""
DURATION_HINT: Final = "should be seconds, or a duration like 500ms, 10s, 1m30s"

_WHOLE: Final = re.compile(DURATION_PATTERN, re.ASCII)
_UNIT: Final = re.compile(r"(ms|s|m|h)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: object) -> float:
    """Parse a number or a text. Negative and infinite values are not rejected here. Raises ValueError."""
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(DURATION_HINT)
    return value


def _of_text(text: str) -> float:
    if len(text) > 64 or not _WHOLE.fullmatch(text):
        raise ValueError(DURATION_HINT)
    *parts, last = _UNIT.split(text)
    if last:
        return float(last)
    # Rounded, because adding parts may leave binary rounding errors.
    return round(sum(float(number) * _UNITS[unit] for number, unit in zip(parts[::2], parts[1::2], strict=True)), 9)
