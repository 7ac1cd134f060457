"""Answers of an Admin API, whatever a server has put there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from weir.apps import answers
from weir.apps.answers import inner_of, pages, text_of
from weir.apps.failure import NotDoneError


class Server:
    """Gives these pages, and the last one again and again."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.asked: list[dict[str, str]] = []

    def ask(self, method: str, path: str, *, query: dict[str, str]) -> Any:
        assert (method, path) == ("GET", "/v1/things")
        self.asked.append(dict(query))
        return SimpleNamespace(value=self.given[min(len(self.asked), len(self.given)) - 1])


def listed(*given: Any) -> list[dict[str, Any]]:
    server: Any = Server(*given)
    return [*pages(server, "/v1/things", "things")]


def test_all_pages_of_a_list() -> None:
    server: Any = Server({"items": [{"name": "a"}], "next": "b"}, {"items": [{"name": "b"}], "next": None})
    assert [*pages(server, "/v1/things", "things")] == [{"name": "a"}, {"name": "b"}]
    assert [query.get("continue") for query in server.asked] == [None, "b"]


@pytest.mark.parametrize("last", [{}, {"items": None}, {"items": [], "next": 5}, {"items": "none", "next": ""}])
def test_a_list_without_more(last: Any) -> None:
    assert listed(last) == []


def test_a_list_that_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_ITEMS", 10)
    with pytest.raises(NotDoneError, match="does not end after 10 things"):
        listed({"items": [{}] * 5, "next": "again"})
    with pytest.raises(NotDoneError, match="does not end after 0 things"):
        listed({"items": [], "next": "again"})


@pytest.mark.parametrize("page", [None, [], "text", {"items": [5]}, {"items": [None]}])
def test_what_is_no_list(page: Any) -> None:
    with pytest.raises(NotDoneError, match="not one of an Admin API"):
        listed(page)


@pytest.mark.parametrize(("value", "text"), [(None, ""), ({}, ""), ([1], ""), (5, "5"), ("a", "a"), (True, "True")])
def test_a_field_as_text(value: Any, text: str) -> None:
    assert text_of({"a": value}, "a") == text
    assert text_of({}, "a") == ""


@pytest.mark.parametrize("view", [None, [], {}, {"a": None}, {"a": [1]}])
def test_an_object_that_is_not_there(view: Any) -> None:
    assert inner_of(view, "a") == {}
