"""The grammar of heads according to RFC 9110 and RFC 9112: request lines, status lines, fields. Pure.

Complete heads are usually checked by llhttp, which is much faster. This module checks what llhttp cannot: incomplete heads, and
heads that llhttp refuses because it knows only a fixed list of methods and versions. Each check takes linear time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = [
    "LINE_END",
    "GrammarError",
    "check_field",
    "check_head",
    "check_request_line",
    "check_status_line",
    "is_http2",
    "is_text",
    "is_token",
]

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VISIBLE: Final = bytes(range(0x21, 0x7F))
_TEXT: Final = b"\t " + _VISIBLE + bytes(range(0x80, 0x100))
"""Bytes allowed in a field's value and in a reason phrase: VCHAR, obs-text and blanks (RFC 9110 5.5)."""
_REQUEST_LINE_WORDS: Final = 3
_DIGITS: Final = b"0123456789"
_KIND: Final = 3
_FIRST_KINDS: Final = b"\x04\x07"


class GrammarError(ValueError):
    """The bytes cannot be part of an HTTP/1 head. The message says why, for people."""


LINE_END: Final = "a line of the head ends without CR LF"


def check_head(head: bytes, check_first: Callable[[bytes], None]) -> None:
    """Check a complete head, including its empty line; `check_first` checks its first line. The caller limits the number of
    fields."""
    if head.count(b"\n") != head.count(b"\r\n"):
        raise GrammarError(LINE_END)
    line, *fields = head[: -len(b"\r\n\r\n")].split(b"\r\n")
    check_first(line)
    for field in fields:
        check_field(field)


def is_token(data: bytes) -> bool:
    """Whether the bytes are a token (RFC 9110 5.6.2), like methods and field names."""
    return bool(data) and not data.translate(None, _TOKEN)


def is_text(data: bytes) -> bool:
    """Whether the bytes are allowed in the value of a field: no control characters except the tab."""
    return not data.translate(None, _TEXT)


def is_http2(data: bytes | memoryview) -> bool:
    """Whether a server's first bytes are the head of a frame of HTTP/2, as far as they go: SETTINGS, or GOAWAY after what it did
    not understand, of the whole connection (RFC 9113 3.4, 6.8). No response of HTTP/1 begins with a zero."""
    return len(data) > _KIND and not data[0] and data[_KIND] in _FIRST_KINDS and not any(data[5:9])


def check_request_line(line: bytes) -> None:
    """Check for method, target and version, separated by single blanks. Whether version and target are served is not checked."""
    words = line.split(b" ", _REQUEST_LINE_WORDS)
    if len(words) != _REQUEST_LINE_WORDS:
        if line.startswith(b"PROXY "):
            raise GrammarError("this is a header of the PROXY protocol, and its sender is not listed in WEIR_PROXY_PROTOCOL")
        raise GrammarError("the request line is not method, target and version")
    method, target, version = words
    if not is_token(method):
        raise GrammarError("the method is not a token")
    if not target or target.translate(None, _VISIBLE):
        raise GrammarError("the request target holds characters that no target has")
    if not _is_version(version):
        raise GrammarError("the request line is not method, target and version")


def check_status_line(line: bytes) -> None:
    """Check for version, three digits, and an optional reason phrase, whose content is not checked."""
    version, status, phrase = line[:9], line[9:12], line[12:]
    if not version.endswith(b" ") or not _is_version(version[:-1]):
        raise GrammarError("the status line does not begin with a version")
    if len(status) != 3 or status.translate(None, _DIGITS):
        raise GrammarError("the status is not three digits")
    if phrase and phrase[:1] != b" ":
        raise GrammarError("the status is not three digits")
    if b"\r" in phrase:  # some parsers take it for the end of the line
        raise GrammarError(LINE_END)


def check_field(line: bytes) -> None:
    """Check for name, colon and value. A continuation of the line before (obs-fold) is refused (RFC 9112 5.2)."""
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
