"""Values of a cookie in a request. Pure, and linear in the size of the head."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["cookie_values"]

MAX_COOKIES: Final = 32
"""Maximum number of cookies of the name in one request."""
_BEFORE_PAIRS: Final = re.compile(rb";[ \t]+")


def cookie_values(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """All values of a cookie: a client may have several of one name, for several paths.

    Blanks around pairs do not count, and those in a name or a value are parts of it (RFC 6265 sections 4.2.1 and 5.4). A value in
    quotes is given without them. 30,000 other cookies are skipped in one pass.
    """
    start = name + b"="
    found = [value for field, value in fields if field == b"cookie" and start in value]
    if not found:
        return []
    pair = b";" + start
    text = (b";" + b";".join(found)).replace(b"; " + start, pair)
    if b" " + start in text or b"\t" + start in text:  # not as browsers write it
        text = _BEFORE_PAIRS.sub(b";", text)
    return [_value(part) for part in text.split(pair, MAX_COOKIES)[1:]]


def _value(part: bytes) -> bytes:
    value = part.partition(b";")[0].rstrip(b" \t")
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
