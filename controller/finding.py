"""The desired value of a condition, before it is compared with the current one. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["Finding"]


class Finding(msgspec.Struct, frozen=True):
    """A condition's status, reason and message."""

    status: str
    reason: str
    message: str
