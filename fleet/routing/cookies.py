"""Values of a cookie in a request. Pure, and linear in the size of the head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["cookie_values"]

MAX_COOKIES: Final = 32
"""Maximum number of cookies of the name in one request."""


def cookie_values(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """All values of a cookie: a client may have several of one name, for several paths.

    For values without blanks, so blanks around pairs can simply be removed; 30,000 other cookies are skipped in one pass.
    """
    found = [value.translate(None, b" \t") for field, value in fields if field == b"cookie"]
    parts = (b";" + b";".join(found)).split(b";" + name + b"=", MAX_COOKIES)[1:]
    return [value.partition(b";")[0].strip(b'"') for value in parts]
