"""Go's duration syntax ("1m30s", "500ms", "0"), in seconds. Pure."""

from __future__ import annotations

import re

from controller.schema.common import DURATION_PATTERN, MAX_DURATION

__all__ = ["seconds"]

_WHOLE = re.compile(DURATION_PATTERN, re.ASCII)
_UNIT = re.compile(r"(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Raises ValueError when the text is not a duration."""
    if len(text) > MAX_DURATION or not _WHOLE.fullmatch(text):
        raise ValueError(f'{text!r} is not a duration such as "500ms", "30s" or "1m30s"')
    # Rounded to nanoseconds, Go's resolution, because adding parts may leave binary rounding errors.
    *parts, _ = _UNIT.split(text)
    return round(sum(float(number) * _UNITS[unit] for number, unit in zip(parts[::2], parts[1::2], strict=True)), 9)
