"""The pages that come with Weir: for an application that wakes, and for one in maintenance. Pure but for reading them once.

Each is one file without anything from elsewhere. Its style and script are allowed by their hashes alone, so that nothing
else could run in it. It says what was asked for, and nothing that the client does not know.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib.resources import files
from urllib.parse import quote_from_bytes

from interceptor.replies import Field

__all__ = ["MAINTENANCE", "PLACEHOLDER", "Page"]

_INLINE = re.compile(r"<(style|script)>")
_BLANK = re.compile(r"{{(host|here)}}")
_AS_THEY_ARE = "!$%&'()*+,/:;=?@[]~"
"""In an address; the rest of what a client may send is escaped."""
_NAMELESS = "This application"
"""For a request that names no host, as HTTP/1.0 allows."""


class Page:
    """A page in its two forms: HTML, and a line of text for programs."""

    __slots__ = ("_fields", "_source", "_text")

    def __init__(self, name: str, text: str, *fields: Field) -> None:
        source = files(__name__).joinpath(f"{name}.html").read_text("utf-8")
        self._source = source
        self._text = text
        self._fields = (
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"Content-Security-Policy", _policy(source)),
            (b"X-Content-Type-Options", b"nosniff"),
            *fields,
        )

    def html(self, host: bytes, target: bytes) -> tuple[tuple[Field, ...], bytes]:
        """Fields and body for a browser."""
        blanks = {"host": html.escape(_name(host)), "here": html.escape(_here(target))}
        return self._fields, _BLANK.sub(lambda blank: blanks[blank[1]], self._source).encode()

    def text(self, host: bytes) -> tuple[tuple[Field, ...], bytes]:
        """Fields and body for who does not read HTML."""
        fields = ((b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff"))
        return fields, f"weir: {_name(host)} {self._text}\n".encode()


def _name(host: bytes) -> str:
    return host.decode("ascii", "replace") or _NAMELESS


def _here(target: bytes) -> str:
    """The page's own address, relative to itself: what is before it in the path may have been changed on the way. Without
    an address, a refresh of a page that was opened at a fragment would only scroll."""
    path, question, query = target.partition(b"?")
    return "./" + quote_from_bytes(path.rpartition(b"/")[2] + question + query, _AS_THEY_ARE)


def _policy(source: str) -> bytes:
    allowed: dict[str, list[str]] = {"style": [], "script": []}
    _, *parts = _INLINE.split(source)
    for kind, rest in zip(parts[::2], parts[1::2], strict=True):
        content, _, _ = rest.partition(f"</{kind}>")
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        allowed[kind].append(f"'sha256-{digest}'")
    rules = [f"{kind}-src {' '.join(hashes)}" for kind, hashes in allowed.items() if hashes]
    if allowed["script"]:
        rules.append("connect-src 'self'")
    return "; ".join(["default-src 'none'", *rules, "base-uri 'none'", "form-action 'none'"]).encode()


PLACEHOLDER = Page("placeholder", "is waking up: try again in a few seconds", (b"X-Weir-Placeholder", b"true"))
"""Asks again by itself until the application answers, which is when this field is missing."""
MAINTENANCE = Page("maintenance", "is in maintenance: try again later")
