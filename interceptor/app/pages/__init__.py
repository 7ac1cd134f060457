"""The pages that come with Weir: for an application that wakes, for one in maintenance, and the list of all of one machine. Pure
but for reading them once.

Each is one file without anything from elsewhere. Its style and script are allowed by their hashes alone, so that nothing
else could run in it. It says what was asked for, and nothing that the client does not know.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import quote_from_bytes
from zlib import crc32

from interceptor.core.messages import Field

__all__ = ["APPS", "MAINTENANCE", "PLACEHOLDER", "Page"]

_INLINE = re.compile(r"<(style|script)>")
_BLANK = re.compile(r"{{(\w+)}}")
_AS_THEY_ARE = "!$%&'()*+,/:;=?@[]~"
"""In an address; the rest of what a client may send is escaped."""
_NAMELESS = "This application"
"""For a request that names no host, as HTTP/1.0 allows."""
_USUAL = "true"
_DOES_NOT_START = "does not start"


class Words(NamedTuple):
    """What a page says of the application: `does` follows its name, `told` is a sentence."""

    does: str
    told: str = ""


class Page:
    """A page in its two forms: HTML, and a line of text for programs."""

    __slots__ = ("_fields", "_marker", "_source", "_text", "_words")

    def __init__(self, name: str, text: str, *, words: Words | None = None, marker: bytes = b"") -> None:
        """`marker` is a field that tells a script what the page says; with it, a reason may be told instead of the words."""
        source = files(__name__).joinpath(f"{name}.html").read_text("utf-8")
        self._source = source
        self._text = text
        self._words = words or Words(text)
        self._marker = marker
        self._fields = (
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"Content-Security-Policy", _policy(source)),
            (b"X-Content-Type-Options", b"nosniff"),
        )

    def html(self, host: bytes, target: bytes, why: str = "") -> tuple[tuple[Field, ...], bytes]:
        """Fields and body for a browser. `why` the application does not start, if that is known."""
        state, words = (_state(why), _failing(why)) if why and self._marker else (_USUAL, self._words)
        blanks = {"host": _name(host), "here": _here(target), "state": state, "does": words.does, "told": words.told}
        fields, page = self.filled({name: html.escape(text) for name, text in blanks.items()})
        return (*fields, (self._marker, state.encode())) if self._marker else fields, page

    def filled(self, blanks: Mapping[str, str]) -> tuple[tuple[Field, ...], bytes]:
        """Fields and body for a browser, given HTML for each of its blanks."""
        return self._fields, _BLANK.sub(lambda blank: blanks[blank[1]], self._source).encode(errors="replace")

    def text(self, host: bytes, why: str = "") -> tuple[tuple[Field, ...], bytes]:
        """Fields and body for who does not read HTML."""
        fields = ((b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff"))
        says = f"{_DOES_NOT_START}: {why}" if why and self._marker else self._text
        return fields, f"weir: {_name(host)} {says}\n".encode()


def _failing(why: str) -> Words:
    return Words(
        _DOES_NOT_START, f"The reason is: {why}. It is tried again, and this page opens by itself as soon as it is ready."
    )


def _state(why: str) -> str:
    """Another one for each reason, so that a page that is open shows the one of now."""
    return f"failing-{crc32(why.encode(errors='replace')):08x}"


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


PLACEHOLDER = Page(
    "placeholder",
    "is waking up: try again in a few seconds",
    words=Words("is waking up", "It was asleep, and your visit wakes it. This page opens by itself as soon as it is ready."),
    marker=b"X-Weir-Placeholder",
)
"""Asks again by itself until the application answers, which is when this field is missing."""
MAINTENANCE = Page("maintenance", "is in maintenance: try again later")
APPS = Page("apps", "")
"""Its blanks are filled by the list of applications."""
