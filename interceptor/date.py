"""The current time in the format of the Date field (RFC 9110 5.6.7)."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from time import time

__all__ = ["http_date"]


def http_date() -> bytes:
    """The value for a Date field, with a resolution of one second."""
    return _of(int(time()))


@lru_cache(maxsize=1)
def _of(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
