"""Static responses of a route as replies: fields, body or file, and the built-in pages. Pure.

The content was validated when the table was made: it contains no connection fields.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from fleet.routing.route import StaticFile, StaticResponse
from interceptor.app.pages import Page
from interceptor.core.messages import Field, Request
from interceptor.core.replies import Reply

__all__ = ["Answer", "accepts_html"]

_HTML: Final = re.compile(rb"\s*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
_TEXT: Final = b"text/plain; charset=utf-8"
_REFUSED: Final = re.compile(rb"q=0(?:\.0*)?")
MAX_RANGES: Final = 64
"""Maximum media ranges of one Accept field that are parsed. Browsers send ten."""
MAX_PARAMETERS: Final = 8
"""Maximum parameters of one media range that are parsed."""

_types = mimetypes.MimeTypes()  # Python's own table, because the machine's table differs between machines


class Answer:
    """One static response, prepared."""

    __slots__ = ("_body", "_fields", "_files", "_page", "_status")

    def __init__(
        self, response: StaticResponse, *, status: int, fields: tuple[Field, ...] = (), page: Page | None = None
    ) -> None:
        """`status` and `fields` are defaults for what the response does not set; `page` is used for one without a body."""
        own = [(name.encode(), value.encode()) for name, value in response.headers]
        self._status = status if response.status is None else response.status
        self._fields = _merge(fields, own)
        self._body = response.body
        self._files = {file.path.encode(): file for file in response.files}
        self._page = page if response.body is None and not response.files else None

    def reply(self, head: Request, why: str = "") -> Reply:
        """The response to one request. `why` is the reason why the application does not start, for pages that show it."""
        if self._page is not None:
            html = accepts_html(head)
            fields, body = self._page.html(head.host, head.target, why) if html else self._page.text(head.host, why)
            return Reply(self._status, _merge(fields, self._fields), body)
        if self._files:
            return self._file(head.path)
        body = self._body or b""
        return Reply(self._status, _merge(_typed(_guess(body)) if body else (), self._fields), body)

    def _file(self, path: bytes) -> Reply:
        path = unquote_to_bytes(path)
        file = self._files.get(path + b"index.html" if path.endswith(b"/") else path)
        if file is None:
            return Reply(self._status, self._fields)
        return Reply(self._status, _merge(_typed(_type_of(file)), self._fields), file.body)


def accepts_html(head: Request) -> bool:
    """Whether Accept contains HTML, as when a browser opens a page; other clients usually do not send it."""
    accepted = b",".join(value for name, value in head.match_fields() if name == b"accept").lower()
    return any(map(_is_html, accepted.split(b",", MAX_RANGES)[:MAX_RANGES]))


def _is_html(media_range: bytes) -> bool:
    media, *parameters = (part.strip(b" \t") for part in media_range.split(b";", MAX_PARAMETERS))
    return media == b"text/html" and not any(map(_REFUSED.fullmatch, parameters))


def _merge(fields: Iterable[Field], own: Iterable[Field]) -> tuple[Field, ...]:
    """The fields of `own`, and those of the others that `own` does not contain."""
    own = tuple(own)
    named = {name.lower() for name, _ in own}
    return (*(field for field in fields if field[0].lower() not in named), *own)


def _typed(content_type: bytes) -> tuple[Field, ...]:
    return ((b"Content-Type", content_type), (b"X-Content-Type-Options", b"nosniff"))


def _guess(body: bytes) -> bytes:
    """The Content-Type of a body without one: HTML is recognised by its beginning; everything else is shown as text."""
    return b"text/html; charset=utf-8" if _HTML.match(body) else _TEXT


def _type_of(file: StaticFile) -> bytes:
    if file.content_type is not None:
        return file.content_type.encode()
    guessed, encoding = _types.guess_type(file.path)
    if guessed is None or encoding is not None:
        return _guess(file.body) if encoding is None else b"application/octet-stream"
    return guessed.encode() + (b"; charset=utf-8" if guessed.startswith("text/") else b"")
