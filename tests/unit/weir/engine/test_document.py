"""Lines and names of the values in a document."""

from __future__ import annotations

import pytest

from weir.engine.document import DocumentError, field_name, parse_document

TEXT = """\
first: 1
apps:
  - name: a
    env:
      KEY: x
  - name: b
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [((), 1), (("first",), 1), (("apps",), 2), (("apps", 0), 3), (("apps", 0, "env", "KEY"), 5), (("apps", 1, "name"), 6)],
)
def test_every_value_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert parse_document(TEXT).line(path) == line


def test_what_is_not_written_has_the_line_of_what_is_around_it() -> None:
    assert parse_document(TEXT).line(("apps", 0, "command", "x")) == 3


def test_values_are_plain() -> None:
    assert parse_document(TEXT).value == {"first": 1, "apps": [{"name": "a", "env": {"KEY": "x"}}, {"name": "b"}]}


def test_names_of_paths() -> None:
    assert field_name(("apps", 1, "rules", 0, "hosts")) == "apps[1].rules[0].hosts"
    assert field_name(()) == ""


def test_two_documents_are_refused() -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document("a: 1\n---\nb: 2\n")
    assert caught.value.fault.line == 2


def test_aliases_of_aliases_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weir.engine.document.MAX_VALUES", 1000)
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 20))
    with pytest.raises(DocumentError, match="more than 1000 values"):
        parse_document(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('a: b\nc: "x\nd: e\n', "4: is the end, and something is not closed: a quoted text, which begins on line 2"),
        ("a:\n\tb: c\n", "2: is indented with a tab, and YAML takes spaces only"),
        ("a: b: c\n", "1: has a colon where none may be: quote a text that has one, and indent fields alike"),
        ("x: 1\na:\n  - b: 1\n c: 2\n", "4: is not indented as what it belongs to: a block mapping, which begins on line 1"),
        ("a: 1\n---\nb: 2\n", "2: begins another document, and a file is one: take out the line ---"),
        ("a: *b\n", "1: found undefined alias 'b'"),
    ],
)
def test_what_is_no_yaml_is_reported_in_words(text: str, told: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document(text)
    assert str(caught.value.fault) == told
