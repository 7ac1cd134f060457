"""Times as people write them: "90s", "1m30s", "500ms", and bare numbers, which are seconds. Pure.

The one reader of every flag, variable and field that is a time (custom resources are written as Go writes, see the controller).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DURATION_HINT", "DURATION_PATTERN", "seconds"]

DURATION_PATTERN: Final = r"^([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$"
"""For texts; a number may also be one of the format (YAML, JSON)."""
DURATION_HINT: Final = "should be seconds, or a duration like 500ms, 10s, 1m30s"

_WHOLE = re.compile(DURATION_PATTERN, re.ASCII)
_UNIT = re.compile(r"(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: object) -> float:
    """Of a number or a text. Does not judge whether it is negative or infinite. Raises ValueError."""
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
    # Adding parts must not leave traces of binary fractions.
    return round(sum(float(number) * _UNITS[unit] for number, unit in zip(parts[::2], parts[1::2], strict=True)), 9)
