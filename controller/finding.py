"""What a condition should say, before it is compared with what it says. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["Finding"]


class Finding(msgspec.Struct, frozen=True):
    """A condition's status, reason and message."""

    status: str
    reason: str
    message: str
