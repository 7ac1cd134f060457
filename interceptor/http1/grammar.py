"""The grammar of heads, byte by byte as RFC 9110 and RFC 9112 have it: request lines, status lines, fields. Pure.

llhttp is the usual judge of a head, and much faster. This one is asked where llhttp cannot be: about a head that is not whole
yet, and about a head that llhttp refuses, since it knows a fixed list of methods and versions. Each check looks at each byte a
fixed number of times.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = [
    "LINE_END",
    "GrammarError",
    "check_field",
    "check_head",
    "check_request_line",
    "check_status_line",
    "is_text",
    "is_token",
]

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VISIBLE = bytes(range(0x21, 0x7F))
_TEXT = b"\t " + _VISIBLE + bytes(range(0x80, 0x100))
"""Of a field's value and of a reason phrase: VCHAR, obs-text and blanks (RFC 9110 5.5)."""
_REQUEST_LINE_WORDS = 3
_DIGITS = b"0123456789"


class GrammarError(ValueError):
    """The bytes cannot be part of a head of HTTP/1. The message says why, for people."""


LINE_END = "a line of the head ends without CR LF"


def check_head(head: bytes, check_first: Callable[[bytes], None]) -> None:
    """Judge all of a head, up to and with its empty line; `check_first` judges its first line. Callers bound its fields."""
    if head.count(b"\n") != head.count(b"\r\n"):
        raise GrammarError(LINE_END)
    line, *fields = head[: -len(b"\r\n\r\n")].split(b"\r\n")
    check_first(line)
    for field in fields:
        check_field(field)


def is_token(data: bytes) -> bool:
    """Whether it is a token (RFC 9110 5.6.2), as methods and names of fields are."""
    return bool(data) and not data.translate(None, _TOKEN)


def is_text(data: bytes) -> bool:
    """Whether it may stand in the value of a field: no control characters but the tab."""
    return not data.translate(None, _TEXT)


def check_request_line(line: bytes) -> None:
    """Method, target and version, one blank between. Which versions and targets are served is not asked here."""
    words = line.split(b" ", _REQUEST_LINE_WORDS)
    if len(words) != _REQUEST_LINE_WORDS:
        raise GrammarError("the request line is not method, target and version")
    method, target, version = words
    if not is_token(method):
        raise GrammarError("the method is not a token")
    if not target or target.translate(None, _VISIBLE):
        raise GrammarError("the request target holds characters that no target has")
    if not _is_version(version):
        raise GrammarError("the request line is not method, target and version")


def check_status_line(line: bytes) -> None:
    """Version, three digits, and a reason phrase that may be missing with its blank. What stands in the phrase means nothing."""
    version, status, phrase = line[:9], line[9:12], line[12:]
    if not version.endswith(b" ") or not _is_version(version[:-1]):
        raise GrammarError("the status line does not begin with a version")
    if len(status) != 3 or status.translate(None, _DIGITS):
        raise GrammarError("the status is not three digits")
    if phrase and phrase[:1] != b" ":
        raise GrammarError("the status is not three digits")
    if b"\r" in phrase:  # some readers take it for the end of the line
        raise GrammarError(LINE_END)


def check_field(line: bytes) -> None:
    """Name, colon, value. A line that continues the one before (obs-fold) is refused (RFC 9112 5.2)."""
    name, colon, value = line.partition(b":")
    if not colon or not is_token(name):
        raise GrammarError("a field is not name, colon and value")
    if not is_text(value):
        raise GrammarError("the value of a field holds control characters")


def _is_version(word: bytes) -> bool:
    """ "HTTP/", a digit, a point and a digit."""
    return (
        len(word) == 8 and word.startswith(b"HTTP/") and word[6:7] == b"." and not (word[5:6] + word[7:]).translate(None, _DIGITS)
    )
