"""No regular expression of the product can be made slow: every one is found, judged by its structure, and tried.

What comes from outside may be as long as a head, a file or an object; a pattern that goes back over it costs the square of its
length, or more, and stops everything that waits for the same loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.automata import WALKING, Unreadable, attacks, witness
from tests.support.growth import grows
from tests.support.patterns import Found, faults, find, source_faults

PATTERNS = find()
SIZES = (64, 512, 4096, 32768)
"""Characters. The longest is a whole head."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

BAD: list[tuple[str | bytes, str]] = [
    (r"(a+)+$", "match"),
    (r"(a*)*b", "match"),
    (r"(?:a|a)*b", "match"),
    (r"(?:a|ab|b)*c", "fullmatch"),
    (r"x*x*y", "match"),
    (r"x*y?x*z", "fullmatch"),
    (r"(\w+\s*)+$", "match"),
    (r"(?:\w+\s?)*", "fullmatch"),
    (r"[ \t]*([\t \x21-\x7e]*?)[ \t]*", "fullmatch"),
    (_TOKEN + rb":[ \t]*([\t \x21-\x7e\x80-\xff]*?)[ \t]*", "fullmatch"),
    (rb":[ \t]*([^\r]*)", "fullmatch"),
    (r"\s+$", "search"),
    (r"[0-9.]+(?:ms|s)", "findall"),
    (r"a(?=.*b)", "sub"),
    (r"<(style|script)>(.*?)</\1>", "findall"),
    (r"a{0,200}a{0,200}a{0,200}b", "match"),
    (r"(?i:a+)A+b", "match"),
    (r".*,.*,.*;", "match"),
]
GOOD: list[tuple[str | bytes, str]] = [
    (r"[a-z]+(?:-[a-z]+)*", "fullmatch"),
    (r"x*y", "match"),
    (r"(?:a|b)*c", "fullmatch"),
    (r"^x*y", "search"),
    (r"[^.]+", "findall"),
    (rb":[ \t]?([^\r]*)", "split"),
    (rb":[ \t]*([^\r]*)", "split"),  # nothing that follows can make it go back
    (_TOKEN + rb":[\t \x21-\x7e\x80-\xff]*", "fullmatch"),
    (r'"(?:[^"\\]|\\.)*"', "fullmatch"),
    (r"\[([0-9a-f:.]+)\](?::\d{1,5})?|([0-9a-f:.]+)", "fullmatch"),
    (r"\x1b(?!\[[0-9;]*m)", "sub"),
    (r"(?:a?){8}b", "match"),
]


def _id(source: str | bytes, mode: str) -> str:
    text = source if isinstance(source, str) else source.decode("latin-1")
    return f"{mode} {text}".encode("ascii", "backslashreplace").decode()


def _try(pattern: re.Pattern[Any], mode: str) -> list[str]:
    """Every text that takes longer than its length allows, by each kind of attack the first."""
    slow = []
    for before, pump, after in attacks(pattern, mode):
        fault = grows(_run(pattern, mode, before, pump, after), SIZES)
        if fault is not None:
            slow.append(f"{before!r} + {pump!r} * n + {after!r}: {fault}")
            break
    return slow


def _run(pattern: re.Pattern[Any], mode: str, before: str, pump: str, after: str) -> Callable[[int], Callable[[], object]]:
    method = getattr(pattern, mode)
    more = ("",) if mode in ("sub", "subn") else ()

    def make(size: int) -> Callable[[], object]:
        text: Any = before + pump * (size // len(pump)) + after
        if isinstance(pattern.pattern, bytes):
            text, given = text.encode("latin-1"), tuple(each.encode() for each in more)
            return lambda: method(*given, text)
        if mode == "finditer":
            return lambda: list(method(text))
        return lambda: method(*more, text)

    return make


@pytest.mark.parametrize(("source", "mode"), BAD, ids=[_id(*each) for each in BAD])
def test_patterns_known_to_be_slow_are_told_by_their_structure_and_by_trying(source: str | bytes, mode: str) -> None:
    assert witness(re.compile(source), mode) is not None
    assert _try(re.compile(source), mode)


@pytest.mark.parametrize(("source", "mode"), GOOD, ids=[_id(*each) for each in GOOD])
def test_patterns_known_to_be_linear_pass_both(source: str | bytes, mode: str) -> None:
    assert witness(re.compile(source), mode) is None
    assert _try(re.compile(source), mode) == []


def test_the_witness_is_a_text_that_is_slow() -> None:
    pattern = re.compile(r"key:[ \t]*([\t \x21-\x7e]*?)[ \t]*")
    found = witness(pattern, "fullmatch")
    assert found is not None
    assert found.before.startswith("key:")
    assert set(found.pump) <= {" ", "\t"}


def test_a_reference_to_a_group_of_any_length_is_not_judged() -> None:
    with pytest.raises(Unreadable):
        witness(re.compile(r"(a+)b\1"), "match")


# -- the product's own --------------------------------------------------------------------------------------------


def test_every_use_of_regular_expressions_in_the_source_was_found() -> None:
    assert list(faults()) == []


def test_those_of_the_data_path_are_among_what_is_found() -> None:
    names = {found.name for found in PATTERNS}
    assert {name.split("._")[0] for name in names} >= {
        "interceptor.http1.chunked",
        "interceptor.http1.fields",
        "interceptor.http1.request.split_special",  # by the method that is all it keeps
        "interceptor.http1.response",
        "interceptor.app.answers",
        "fleet.routing.host",
        "fleet.runtime.terminal",
    }
    assert any("schema" in name for name in names)  # given to msgspec as a string
    walks = {found.name for found in PATTERNS if found.modes & WALKING}
    assert "interceptor.http1.request.split_special_and_marks" in walks
    assert "interceptor.http1.chunked._SIZE_LINE" not in walks


@pytest.mark.parametrize("found", PATTERNS, ids=[found.name for found in PATTERNS])
def test_no_pattern_can_read_a_text_in_many_ways(found: Found) -> None:
    for mode in sorted(found.modes):
        assert witness(found.pattern, mode) is None, f"{found.name}.{mode}"


@pytest.mark.parametrize("found", PATTERNS, ids=[found.name for found in PATTERNS])
def test_no_pattern_takes_more_than_linear_time(found: Found) -> None:
    for mode in sorted(found.modes):
        assert _try(found.pattern, mode) == [], f"{found.name}.{mode}"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import re\nX = re.compile('a')", None),
        ("import re\nX = re.compile('a').split", None),
        ("import re\nX = tuple(re.compile(text) for text in ('a', 'b'))", None),
        ("import re\nclass C:\n    X = re.compile('a')", None),
        ("import re\ndef f() -> re.Pattern[str]:\n    return re.compile('a')\nX = f()", None),
        ("import re\nY = re.compile('a')", "not found under a name"),
        ("import re\nre.compile('a')", "not found under a name"),
        ("import re\ndef f(text):\n    return re.match('a+', text)", "re.match"),
        ("import re\nX = re.sub('a', 'b', 'c')", "re.sub"),
        ("import re\ndef f(text):\n    return re.compile(text)", "in a function"),
        ("import re\nclass C:\n    def f(self):\n        return re.compile('a')", "in a function"),
        ("import re\ndef f() -> re.Pattern[str]:\n    return re.compile('a')\ndef g(text):\n    return f()", "in a function"),
        ("from re import match", "as a whole"),
        ("import re as r", "own name"),
        ("import fnmatch", "no other engine"),
    ],
)
def test_uses_that_would_hide_a_pattern_are_told(source: str, fault: str | None) -> None:
    told = list(source_faults(source, "m", {"X"}, {"f"} if "re.Pattern" in source else set()))
    assert len(told) == (fault is not None), told
    assert fault is None or fault in told[0]
