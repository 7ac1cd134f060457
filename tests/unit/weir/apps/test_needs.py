"""Dependencies in words, whatever a server or a file has written."""

from __future__ import annotations

from typing import Any

import pytest

from weir.apps.needs import MAX_NAMED, dependencies, words_of


def test_what_was_typed_in_words() -> None:
    typed = ["db", "cache,optional", "mail,keep-awake=false,optional"]
    assert words_of(dependencies(typed)) == "db, cache (optional), mail (optional, only woken)"
    assert words_of(dependencies([])) == ""


@pytest.mark.parametrize(
    ("found", "words"),
    [(None, ""), ("db", ""), ({"db": 1}, ""), ([5], "5"), ([{}], "None"), ([{"name": "a", "optional": "yes"}], "a")],
)
def test_what_nobody_should_have_written(found: Any, words: str) -> None:
    assert words_of(found) == words


def test_a_long_list_is_cut() -> None:
    assert words_of(["a"] * (MAX_NAMED + 2)).endswith("a and 2 more")
