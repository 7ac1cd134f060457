"""The desired value of a condition, before it is compared with the current one. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["MAX_NAMED", "Finding"]

MAX_NAMED = 3
"""Pods, ports or addresses named in one message."""


class Finding(msgspec.Struct, frozen=True):
    """A condition's status, reason and message."""

    status: str
    reason: str
    message: str
