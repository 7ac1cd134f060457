"""The field Weir-Keep-Awake of a response: how long its backend goes on working after it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleet.routing.duration import seconds

__all__ = ["KEEP_AWAKE", "MALFORMED", "read_keep_awake"]

KEEP_AWAKE: Final = b"weir-keep-awake"
"""Its name, in lower case. It is for the interceptor, and never passed to a client."""
MALFORMED: Final = -1.0


def read_keep_awake(values: Sequence[bytes]) -> float:
    """Seconds, 0 to end it; MALFORMED for what is no single duration."""
    if len(values) != 1:
        return MALFORMED
    try:
        return seconds(values[0].decode("ascii").strip())
    except ValueError:
        return MALFORMED
