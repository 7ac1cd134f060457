"""Whether the head of a request may name a preview, which is seen at little cost in most of them. Pure.

Where routes have the usual header, one pattern looks for it, for baggage and for cookies. First letters are not left to a flag:
by them and the end of the line before, the search takes a third of the time.
"""

from __future__ import annotations

import re
from typing import Final

from fleet.defaults import CONTEXT_HEADER
from fleet.routing.context import Marks

__all__ = ["confirms", "find_usual", "has_marks"]

_BEGIN: Final = [f"{letter}{letter.upper()}" for letter in CONTEXT_HEADER[:2]]
_REST: Final = CONTEXT_HEADER[2:]
_USUAL: Final = re.compile(rf"\n[{_BEGIN[0]}bB][{_BEGIN[1]}aA](?i:{_REST}:|ggage:)".encode())
_USUAL_OR_COOKIE: Final = re.compile(rf"\n[{_BEGIN[0]}bBcC][{_BEGIN[1]}aAoO](?i:{_REST}:|ggage:|okie:)".encode())
_OF_COOKIE: Final = (ord("i"), ord("I"))
"""Last but two of what is found where that is a field of cookies."""


find_usual = _USUAL_OR_COOKIE.search
"""Finds nothing in a head that has none of the usual marks."""


def confirms(found: re.Match[bytes], marks: Marks) -> bool:
    """`has_marks` of a head in which `find_usual` has found something: perhaps only cookies."""
    head, at = found.string, found.end()
    if (
        head[at - 3] not in _OF_COOKIE
        or (marks.cookie and head.find(marks.cookie, at) >= 0)
        or _USUAL.search(head, at) is not None
    ):
        return has_marks(head, marks)
    return False


def has_marks(head: bytes, marks: Marks) -> bool:
    """Whether a head may have one of the fields, or the text in a cookie; true also for some heads that only look so."""
    lower = head.lower()
    if any(line in lower for line in marks.lines):
        return True
    return marks.cookie != b"" and (at := lower.find(b"\ncookie:")) >= 0 and head.find(marks.cookie, at) >= 0
