"""What a request for a diagnostics page asks for: JSON or text, and how many rows.

Browsers get text, and programs without an Accept field get JSON. `?format=json` and `?format=text` are for clients that cannot
set a field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request

__all__ = ["JSON", "MAX_ROWS", "TEXT", "BadQuery", "Page", "form_of", "limit_of"]

JSON: Final = "json"
TEXT: Final = "text"
MAX_ROWS: Final = 100_000
"""The highest number of rows that a query may ask for."""


class BadQuery(Exception):
    """The query means nothing. The message is one line."""


class Page:
    """A page: what generates its value, and what the index says of it.

    With a `limit`, the value has at most that many rows, or as many as the query says; `show` gets the number.
    """

    def __init__(self, show: Callable[..., Any], about: str = "what it knows", *, limit: int | None = None) -> None:
        self.show = show
        self.about = about
        self.limit = limit


def form_of(request: Request, *, usual: str = JSON, browsers: str = TEXT) -> str:
    """JSON or TEXT. Raises BadQuery."""
    wanted = request.query_params.get("format")
    if wanted is not None:
        if wanted not in (JSON, TEXT):
            raise BadQuery(f"format is {JSON} or {TEXT}")
        return wanted
    accepted = request.headers.get("accept", "")
    if "application/json" in accepted:
        return JSON
    if "text/html" in accepted:
        return browsers
    return TEXT if "text/plain" in accepted else usual


def limit_of(request: Request, page: Page) -> int | None:
    """How many rows are wanted; None of a page without a limit. Raises BadQuery."""
    if page.limit is None:
        return None
    wanted = request.query_params.get("limit", str(page.limit))
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= len(str(MAX_ROWS)) and int(wanted) <= MAX_ROWS):
        raise BadQuery(f"limit is a number from 0 to {MAX_ROWS}")
    return int(wanted)
