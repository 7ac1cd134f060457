"""Words of our own do not come back where the field has a term, in names and in text alike."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fleet", "interceptor", "scaler", "controller", "weir", "tools")
PLACES = (*PACKAGES, "tests", "docs")
REPLACED = {
    "unseen": "unprocessed",
    "candid": "reports_unprocessed",
    "crowds?": "many requests, many clients, load",
    "stand[-_]ins?": "substitute, placeholder, fake",
    "guests?": "client",
    "leavers?": "a client that disconnects",
    "handouts?": "slot",
    "in_a_calm": "while_idle",
    "turns?_away": "reject",
    "close_at_rest": "close_if_idle",
    "ask_again": "reconsider",
    "with_work": "in_use",
    "weathers?": "churn, changes",
    "what the session tells": "events of the session",
}
"""What is not to be read, as regular expressions, and what stands in its place."""
TOLD = "told"
"""Plain English in a sentence, but as a name it does not say what a value is: reported, sent, outputs, logged."""
WHO = re.compile(r"_?(?:test_)?who_")
"""A function is named for its subject: the client, the application."""


def pattern_of(*words: str) -> re.Pattern[str]:
    """Finds the words by themselves, and as parts of names in snake case and camel case."""
    capital = "|".join(word[0].upper() + word[1:] for word in words)
    return re.compile(rf"(?:(?<![a-zA-Z])(?i:{'|'.join(words)})|(?:{capital}))(?![a-z])")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on_reset(code, unseen=True)", ["unseen"]),
        ("class SlowCrowd: ...", ["Crowd"]),
        ("MANY_GUESTS = 3", ["GUESTS"]),
        ("the handouts' guesstimates, uncandidly", ["handouts"]),
        ("a stand-in, or a place to stand in", ["stand-in"]),
    ],
)
def test_words_are_found(text: str, expected: list[str]) -> None:
    assert [found[0] for found in pattern_of(*REPLACED).finditer(text)] == expected


def _files(*places: str) -> Iterator[Path]:
    for place in places:
        yield from (
            path for path in sorted((ROOT / place).rglob("*")) if path.suffix in (".py", ".md") and path != Path(__file__)
        )


def test_the_terms_of_the_field_are_used() -> None:
    pattern = pattern_of(*REPLACED)
    texts = ((path, path.read_text()) for path in _files(*PLACES))
    found = [f"{path.relative_to(ROOT)}: {one[0]}" for path, text in texts for one in pattern.finditer(text)]
    assert not found, f"terms to use instead: {REPLACED}"


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for kind in ("id", "arg", "attr", "name"):
            if isinstance(name := getattr(node, kind, None), str):
                yield name


def test_names_say_what_a_value_is() -> None:
    pattern = pattern_of(TOLD)
    texts = ((path, path.read_text()) for path in _files(*PACKAGES) if path.suffix == ".py")
    trees = ((path, ast.parse(text)) for path, text in texts if TOLD in text)
    assert [f"{path.relative_to(ROOT)}: {name}" for path, tree in trees for name in _names(tree) if pattern.search(name)] == []


def test_stages_of_tests_name_what_they_record() -> None:
    texts = ((path, path.read_text()) for path in _files("tests/support") if path.suffix == ".py")
    trees = ((path, ast.parse(text)) for path, text in texts if TOLD in text)
    assert [f"{path.relative_to(ROOT)}: {name}" for path, tree in trees for name in _names(tree) if name.strip("_") == TOLD] == []


def test_functions_are_named_for_their_subject() -> None:
    texts = ((path, path.read_text()) for path in _files(*PACKAGES, "tests") if path.suffix == ".py")
    found = [
        (path, name)
        for path, text in texts
        for name in re.findall(r"^ *(?:async )?def (\w+)", text, re.MULTILINE)
        if WHO.match(name)
    ]
    assert found == []
