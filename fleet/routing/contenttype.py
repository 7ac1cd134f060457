"""The Content-Type of a body, from its file name or its first bytes. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["content_type"]

_BY_EXTENSION: Final = {
    "avif": "image/avif",
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "gif": "image/gif",
    "htm": "text/html; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xml": "text/xml; charset=utf-8",
}
"""Types of web files. Not the system's table, which differs between machines: equal objects must give equal tables."""

# MIME Sniffing Standard, section 7.1: recognizes HTML and XML.
_HTML: Final = re.compile(
    rb"\s*<(?:!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P)[ >]|\s*<!--", re.IGNORECASE
)
_XML: Final = re.compile(rb"\s*<\?xml")
_LOOKED_AT: Final = 512


def content_type(body: bytes, name: str = "") -> str:
    """The value of Content-Type for a body; `name` is its file name, if any."""
    _, dot, extension = name.rpartition(".")
    known = _BY_EXTENSION.get(extension.lower()) if dot else None
    return known or _sniffed(body[:_LOOKED_AT])


def _sniffed(beginning: bytes) -> str:
    if _HTML.match(beginning):
        return "text/html; charset=utf-8"
    if _XML.match(beginning):
        return "text/xml; charset=utf-8"
    binary = any(byte < 0x20 and byte not in b"\t\n\f\r\x1b" for byte in beginning)
    return "application/octet-stream" if binary else "text/plain; charset=utf-8"
