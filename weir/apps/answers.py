"""What is in an answer of the Admin API, whatever a server has put there: no field is trusted to have its type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weir.apps.admin_client import AdminClient
from weir.apps.failure import NotDoneError

__all__ = ["PAGE", "inner_of", "items_of", "object_of", "pages", "text_of"]

PAGE = 500
MAX_ITEMS = 100_000
"""Items of one list. A server that gives more pages is not to be followed for ever."""


def object_of(value: Any) -> dict[str, Any]:
    """An object of JSON. Raises NotDoneError."""
    if not isinstance(value, dict):
        raise NotDoneError("the server's answer is not one of an Admin API")
    return value


def inner_of(view: Any, name: str) -> Mapping[str, Any]:
    """The object in a field; an empty one if there is none."""
    value = view.get(name) if isinstance(view, dict) else None
    return value if isinstance(value, dict) else {}


def text_of(view: Mapping[str, Any], name: str) -> str:
    """The text or number in a field, as text."""
    value = view.get(name)
    return "" if value is None or isinstance(value, dict | list) else str(value)


def items_of(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a list. Raises NotDoneError."""
    items = page.get("items")
    return [object_of(item) for item in items] if isinstance(items, list) else []


def pages(client: AdminClient, path: str, what: str) -> Iterator[dict[str, Any]]:
    """All items of a list, page by page. Raises NotDoneError."""
    query, count = {"limit": str(PAGE)}, 0
    while True:
        page = object_of(client.ask("GET", path, query=query).value)
        items = items_of(page)
        count += len(items)
        yield from items
        following = page.get("next")
        if not isinstance(following, str) or not following:
            return
        if count >= MAX_ITEMS or not items:
            raise NotDoneError(f"the server's list does not end after {count} {what}")
        query["continue"] = following
