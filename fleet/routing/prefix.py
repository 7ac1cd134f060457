"""The prefix of a path replaced by another one, for backends and for redirects. Pure.

Where the prefix ends is decided as in `fleet.routing.match`: segments are compared percent-decoded, and slashes before the first
one do not count. What follows the prefix goes on as it was sent.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["WHOLE_SERVER", "new_prefix", "with_prefix"]

WHOLE_SERVER: Final = b"*"
"""The target of OPTIONS for the server as a whole (RFC 9112 3.2.4). It is no path."""

_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_SLASHES: Final = re.compile(rb"(?:/|%2[Ff])*")
_BORDER: Final = re.compile(rb"(?:/|%2[Ff])/*")


def new_prefix(prefix: str) -> bytes:
    """A prefix in the form in which `with_prefix` takes the new one: "/" is empty, others do not end with "/"."""
    return prefix.rstrip("/").encode()


def with_prefix(path: bytes, prefix: bytes, new: bytes) -> bytes | None:
    """A path that starts with the segments `prefix` ("a/b", without slashes at its ends), with `new` in their place.

    The result starts with one slash. None for a path with so many ".." that it is outside of the prefix for a server that
    resolves them: whom it is for then depends on who reads it.
    """
    after = path[_end_of(path, prefix) :]
    border = _BORDER.match(after) if prefix else None
    rest = after if border is None else after[border.end() :]
    if _leaves(rest):
        return None
    if border is None and prefix:
        return new or b"/"
    return b"%b/%b" % (new, rest)


def _end_of(path: bytes, prefix: bytes) -> int:
    """Where the prefix ends in the path as it was sent."""
    if b"%" not in path:
        return len(path) - len(path.lstrip(b"/")) + len(prefix)
    slashes = _SLASHES.match(path)
    at = 0 if slashes is None else slashes.end()
    for _ in range(len(prefix)):
        at += 3 if _ESCAPE.match(path, at) else 1
    return at


def _leaves(rest: bytes) -> bool:
    """Whether ".." leads out of where the rest begins, for any reader: some take a backslash for a slash, and ignore what follows
    a semicolon."""
    if b".." not in rest and b"%" not in rest:
        return False
    depth = 0
    for segment in unquote_to_bytes(rest).replace(b"\\", b"/").split(b"/"):
        name = segment.partition(b";")[0]
        if name == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif name not in (b"", b"."):
            depth += 1
    return False
