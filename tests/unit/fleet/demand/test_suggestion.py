"""The words in which a dependency is suggested."""

from __future__ import annotations

import pytest

from fleet.demand.suggestion import MOST_SHOWN, Suggestion, in_words, names_in

API, DB, LOG = Suggestion("a/api", 95), Suggestion("a/db", 90), Suggestion("a/log", 100, together=True)
AFTER = "which woke before web was ready or within 2 s of that"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], ""),
        ([API], f"web seems to call api (in about 95 % of its wakes), {AFTER}: add dependsOn: [api]"),
        ([LOG], "web woke together with log (in about 100 % of its wakes): if it calls that, add dependsOn: [log]"),
        (
            [API, DB, LOG],
            (
                f"web seems to call api (in about 95 % of its wakes), db (in about 90 % of its wakes), {AFTER}: "
                "add dependsOn: [api, db]; "
                "web woke together with log (in about 100 % of its wakes): if it calls that, add dependsOn: [log]"
            ),
        ),
    ],
)
def test_words(found: list[Suggestion], words: str) -> None:
    assert in_words("a/web", found, "dependsOn") == words
    assert names_in(words) == {each.name for each in found}


def test_the_words_are_bounded() -> None:
    many = [Suggestion(f"a/x{number}", 100) for number in range(8)]
    assert names_in(in_words("a/web", many, "depends_on")) == {"x0", "x1", "x2"}
    assert names_in(in_words("a/web", [*many[:2], *[LOG] * 8], "depends_on")) == {"x0", "x1", "log"}
    assert MOST_SHOWN == 3


@pytest.mark.parametrize(
    ("words", "names"),
    [("", set()), ("[", set()), ("[]", set()), ("[[api]]", {"api"}), ("[a, b] [c", {"a", "b"}), ("[" * 100_000, set())],
)
def test_names_of_any_text(words: str, names: set[str]) -> None:
    assert names_in(words) == names
