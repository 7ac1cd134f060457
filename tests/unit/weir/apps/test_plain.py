"""Texts of YAML and JSON that say one thing only."""

from __future__ import annotations

import pytest

from weir.apps.plain import NotPlainError, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: [1, 2.5, yes, ~, 'x']", {"a": [1, 2.5, True, None, "x"]}),
        ('{"a": "\\u00e9", "b": {"a": 1}}', {"a": "é", "b": {"a": 1}}),
        ('"\\ud83d\\ude00"', "😀"),
        ('{"tag": "1e3", "number": 1e3}', {"tag": "1e3", "number": 1000.0}),
        ("1e3", "1e3"),
    ],
)
def test_what_is_taken(text: str, value: object) -> None:
    assert plain(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [x]\nb: *a", "anchors are not taken here"),
        ("&a [*a]", "anchors are not taken here"),
        ('{"command": "a", "command": "b"}', "two fields have the name 'command'"),
        ("a: {b: 1, c: 2, b: 3}", "two fields have the name 'b'"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "has more than 100 levels"),
        ("[" * 5000, "has more than 100 levels"),
        ('"\\ud800"', "has half of a character (a lone surrogate)"),
        (".nan", "Out of range float values are not JSON compliant"),
        ("[1e999]", "Out of range float values are not JSON compliant"),
        ("a: .inf", "Out of range float values are not JSON compliant"),
        ("a: 2001-01-01", "Object of type date is not JSON serializable"),
        ("a: [", None),
        ("? [a]\n: b", None),
        ("!!python/object/apply:os.system [x]", None),
        ("a\0b", None),
        ("!!int 'x'", None),
        ("!!float", None),
    ],
)
def test_what_is_not(text: str, why: str | None) -> None:
    with pytest.raises(NotPlainError) as raised:
        plain(text)
    assert "\n" not in str(raised.value)
    if why is not None:
        assert str(raised.value).startswith(why)
