"""The index page of the diagnostics server, as links for a browser and as lines for a program. Pure."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from typing import Final

__all__ = ["POLICY", "index_page", "index_text"]

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{margin:48px auto;max-width:44rem;padding:0 24px;font:16px/1.6 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    "h1{font-size:1.5rem}table{border-collapse:collapse}td{padding:.35rem 1.5rem .35rem 0;vertical-align:top}"
    "td+td{opacity:.75}a{text-decoration:none}a:hover{text-decoration:underline}"
)
POLICY: Final = f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"


def index_page(pages: Mapping[str, str]) -> str:
    """HTML for paths and their descriptions. Links are relative, because a forwarded port may be behind a path prefix."""
    rows = "\n".join(
        f'<tr><td><a href="{html.escape(path.removeprefix("/"))}">{html.escape(path)}</a></td><td>{html.escape(what)}</td></tr>'
        for path, what in pages.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>Weir diagnostics</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>Weir diagnostics</h1>\n<table>\n{rows}\n</table>\n</body></html>\n"
    )


def index_text(pages: Mapping[str, str]) -> str:
    """The same as lines of text."""
    width = max(map(len, pages))
    return "".join(f"{path:{width}}  {what}\n" for path, what in pages.items())
