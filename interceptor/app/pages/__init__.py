"""The built-in pages: for an application that starts, for maintenance, and the list of applications. Pure, except that the files
are read once.

Each page is one file without external resources. Its style and script are allowed by hash only, so that nothing else can run in
it. It contains only what the client has sent or knows.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes
from zlib import crc32

from interceptor.core.messages import Field

__all__ = ["APPS", "MAINTENANCE", "PLACEHOLDER", "Page"]

_INLINE: Final = re.compile(r"<(style|script)>")
_BLANK: Final = re.compile(r"{{(\w+)}}")
_AS_THEY_ARE: Final = "!$%&'()*+,/:;=?@[]~"
"""Characters that are not escaped in an address; others from the client are."""
_NAMELESS: Final = "This application"
"""For a request without a host, as HTTP/1.0 permits."""
_USUAL: Final = "true"
_DOES_NOT_START: Final = "does not start"


class Words(NamedTuple):
    """Texts about the application: `does` follows its name, `detail` is a sentence."""

    does: str
    detail: str = ""


class Page:
    """A page in two forms: HTML, and a line of text for other clients."""

    __slots__ = ("_fields", "_marker", "_source", "_text", "_words")

    def __init__(self, name: str, text: str, *, words: Words | None = None, marker: bytes = b"") -> None:
        """`marker` is a field whose value shows a script what the page says; with it, a reason may replace the words."""
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
        """Fields and body for a browser. `why` is the reason why the application does not start, if known."""
        state, words = (_state(why), _failing(why)) if why and self._marker else (_USUAL, self._words)
        blanks = {"host": _name(host), "here": _here(target), "state": state, "does": words.does, "detail": words.detail}
        fields, page = self.filled({name: html.escape(text) for name, text in blanks.items()})
        return (*fields, (self._marker, state.encode())) if self._marker else fields, page

    def filled(self, blanks: Mapping[str, str]) -> tuple[tuple[Field, ...], bytes]:
        """Fields and body for a browser, with HTML for each placeholder."""
        return self._fields, _BLANK.sub(lambda blank: blanks[blank[1]], self._source).encode(errors="replace")

    def text(self, host: bytes, why: str = "") -> tuple[tuple[Field, ...], bytes]:
        """Fields and body for a client that does not accept HTML."""
        fields = ((b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff"))
        says = f"{_DOES_NOT_START}: {why}" if why and self._marker else self._text
        return fields, f"weir: {_name(host)} {says}\n".encode()


def _failing(why: str) -> Words:
    return Words(
        _DOES_NOT_START, f"The reason is: {why}. It is tried again, and this page opens by itself as soon as it is ready."
    )


def _state(why: str) -> str:
    """Differs for each reason, so that an open page is updated when the reason changes."""
    return f"failing-{crc32(why.encode(errors='replace')):08x}"


def _name(host: bytes) -> str:
    return host.decode("ascii", "replace") or _NAMELESS


def _here(target: bytes) -> str:
    """The page's address, relative to itself, because a proxy may have changed the path in front of it. Without an address, a
    refresh of a page opened with a fragment would only scroll."""
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


PLACEHOLDER: Final = Page(
    "placeholder",
    "is waking up: try again in a few seconds",
    words=Words("is waking up", "It was asleep, and your visit wakes it. This page opens by itself as soon as it is ready."),
    marker=b"X-Weir-Placeholder",
)
"""Polls until the application answers, which is when this field is missing."""
MAINTENANCE: Final = Page("maintenance", "is in maintenance: try again later")
APPS: Final = Page("apps", "")
"""Filled by the list of applications."""
