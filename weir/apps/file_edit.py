"""Changes of a file of apps as text: what is not changed keeps every character of it, comments and blank lines included. Pure.

After each change the new text is parsed, and has to say exactly what the old one said with the change in it. Where it does not,
as where an anchor is shared, nothing is returned: such a file is for people to edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, Final

import yaml

from weir.apps.yaml_parts import MAPPING, SEQUENCE, Part, comments_in, line_end, line_start, parts_of
from weir.engine.document import Document, DocumentError, Path, field_name, parse_document

__all__ = ["REMOVED", "CannotEditError", "Value", "with_app", "with_changes", "without_app"]

Value = Any
REMOVED: Final = object()
"""Instead of a value: the field is to go."""
_APPS = "apps"
_STEP = 2
"""Spaces by which what belongs to something is indented."""


class CannotEditError(Exception):
    """The text cannot be changed so by a program; the message says where."""


def with_app(text: str, fields: Mapping[str, Value]) -> str:
    """The file with one more app, behind the others."""
    document = _parsed(text)
    before = _apps(document.value)
    expected = {**document.value, _APPS: [*before, dict(fields)]}
    root = parts_of(text)
    found = root.pair(_APPS) if root is not None and root.kind == MAPPING else None
    if root is None:
        changed = _below(text, len(text), f"{_APPS}:{_newline(text)}{_block_item(fields, _STEP, text)}")
    elif found is not None and found[1].kind == SEQUENCE and found[1].items:
        changed = _appended(text, found[0], found[1], fields)
    elif root.is_flow:
        changed = _set(text, root, _APPS, [dict(fields)])
    elif found is None:
        changed = _added_list(text, root, fields)
    else:
        changed = _first(text, found[0], found[1], fields)
    return _checked(changed, expected, f"{_APPS}: ")


def with_changes(text: str, index: int, changes: Mapping[Path, Value]) -> str:
    """The file with fields of an app set or removed, each given as its path in the app: ("env", "A")."""
    for path, value in changes.items():
        document = _parsed(text)
        whole = (_APPS, index, *path)
        expected = deepcopy(document.value)
        if not _change(expected, whole, value):
            continue
        text = _checked(_changed(text, whole, value), expected, f"{field_name(whole)}, line {document.line(whole)}: ")
    return text


def without_app(text: str, index: int) -> str:
    """The file without an app. Comments above it stay; those in it go with it."""
    document = _parsed(text)
    before = _apps(document.value)
    expected = {**document.value, _APPS: [*before[:index], *before[index + 1 :]]}
    key, apps = _list(text)
    item = apps.items[index]
    if apps.is_flow:
        following = apps.items[index + 1 : index + 2]
        preceding = apps.items[index - 1 : index] if index else []
        start, end = _in_brackets(item, item, preceding[0] if preceding else None, following[0] if following else None)
        changed = text[:start] + text[end:]
    else:
        start = line_start(text, _dash(text, key, apps, index))
        changed = text[:start] + text[_behind(text, item.end, _column(text, _dash(text, key, apps, index))) :]
        if len(apps.items) == 1:
            colon = text.index(":", key.end) + 1
            changed = f"{changed[:colon]} []{changed[colon:]}"
    return _checked(changed, expected, f"{_APPS}[{index}], line {document.line((_APPS, index))}: ")


def _parsed(text: str) -> Document:
    try:
        return parse_document(text)
    except DocumentError as error:
        raise CannotEditError(str(error)) from error


def _checked(text: str, expected: Value, where: str) -> str:
    """The text, if it says what it should."""
    try:
        document = parse_document(text)
        for fault in document.faults:  # the file had none, so it is the new value, like a text with a NUL
            raise CannotEditError(f"{field_name(fault.path)}: {fault.reason}")
        good = _same(document.value, expected)
    except (DocumentError, RecursionError):
        good = False
    if not good:
        why = "is written in a way that only people can edit: an anchor that is used elsewhere, a merge key, or an unusual layout"
        raise CannotEditError(f"{where}{why}")
    return text


def _apps(value: Value) -> list[Value]:
    apps = value.get(_APPS) if isinstance(value, dict) else None
    return apps if isinstance(apps, list) else []


def _list(text: str) -> tuple[Part, Part]:
    """The key and the list of the apps."""
    root = parts_of(text)
    found = root.pair(_APPS) if root is not None else None
    if found is None or found[1].kind != SEQUENCE:
        raise CannotEditError(f"{_APPS}: is not written as a list")
    return found


def _same(one: Value, other: Value) -> bool:
    """Whether they are equal, and of the same kinds: 1 is neither true nor 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) or repr(one) == repr(other)


def _change(values: Value, path: Path, value: Value) -> bool:
    """Make the change in values; returns whether there was anything to change."""
    for part, following in pairwise(path):
        inner = values[part] if isinstance(part, int) else values.get(part)
        if not isinstance(inner, list if isinstance(following, int) else dict):
            if value is REMOVED:
                return False
            inner = values[part] = {}
        values = inner
    last = path[-1]
    if value is REMOVED:
        return values.pop(last, REMOVED) is not REMOVED
    if last in values and _same(values[last], value):
        return False
    values[last] = value
    return True


def _changed(text: str, path: Path, value: Value) -> str:
    """The text with one value set or removed."""
    at, left = parts_of(text), list(path)
    while at is not None and len(left) > 1:
        step = left[0]
        inner = at.items[step] if isinstance(step, int) and at.kind == SEQUENCE else None
        if isinstance(step, str):
            inner = pair[1] if (pair := at.pair(step)) is not None else None
        if inner is None or (inner.kind != MAPPING and len(left) == 2):
            break
        at, left = inner, left[1:]
    if at is None or at.kind != MAPPING or not isinstance(left[0], str):
        raise CannotEditError(f"{field_name(path)}: is not written here itself")
    if value is REMOVED:
        return _removed(text, at, left, path)
    for name in reversed(left[1:]):
        value = {name: value}
    return _set(text, at, left[0], value)


def _removed(text: str, mapping: Part, left: Sequence[str | int], path: Path) -> str:
    names = [name.value for name, _ in mapping.pairs]
    if len(left) > 1 or left[0] not in names:
        raise CannotEditError(f"{field_name(path)}: is not written here itself")
    if len(names) == 1:
        return _changed(text, path[:-1], {})
    position = names.index(str(left[0]))
    key, value = mapping.pairs[position]
    following = mapping.pairs[position + 1] if position + 1 < len(names) else None
    if mapping.is_flow:
        preceding = mapping.pairs[position - 1][1] if position else None
        start, end = _in_brackets(key, value, preceding, None if following is None else following[0])
        return text[:start] + text[end:]
    start = line_start(text, key.start)
    if not text[start : key.start].strip():
        return text[:start] + text[line_end(text, value.end) :]
    if following is None:
        raise CannotEditError(f"{field_name(path)}: is not on a line of its own")
    # It stands on the line of the dash: what follows takes its place, with the comments in between.
    gap = text[value.end : following[0].start]
    return text[: key.start] + (gap.lstrip(" ") if "#" in gap else "") + text[following[0].start :]


def _in_brackets(first: Part, last: Part, before: Part | None, behind: Part | None) -> tuple[int, int]:
    """What goes with something in brackets: it, and one comma."""
    if behind is not None:
        return first.start, behind.start
    return (first.start if before is None else before.end), last.end


def _set(text: str, mapping: Part, name: str, value: Value) -> str:
    """Set a field that is there, or add it behind the others."""
    written = _flow(value, bare=not mapping.is_flow)
    found = mapping.pair(name)
    if found is not None:
        return _replaced(text, found, written)
    field = f"{_flow(name, bare=not mapping.is_flow)}: {written}"
    if mapping.is_flow:
        if not mapping.pairs:
            at = text.index("{", mapping.start) + 1
            return f"{text[:at]}{field}{text[at:]}"
        at = mapping.pairs[-1][1].end
        return f"{text[:at]}, {field}{text[at:]}"
    column = _column(text, mapping.pairs[0][0].start)
    return _below(text, line_end(text, mapping.end), f"{' ' * column}{field}")


def _replaced(text: str, pair: tuple[Part, Part], written: str) -> str:
    key, value = pair
    if value.start == value.end:
        return f"{text[: value.end]} {written}{text[value.end :]}"
    if value.is_flow and "\n" not in text[value.start : value.end] and "\n" not in text[key.end : value.start]:
        return text[: value.start] + written + text[value.end :]
    # It has lines of its own. Its comments are kept above the field.
    colon = text.index(":", key.end) + 1
    first_line, _, _ = text[colon : value.start].partition("\n")
    kept = f" {first_line.strip()}" if "#" in first_line else ""
    start, newline = line_start(text, key.start), _newline(text)
    if text[start : key.start].strip() and comments_in(text, value):
        raise CannotEditError(f"{key.value}: has comments in it, and is not on a line of its own")
    above = "".join(f"{' ' * (key.start - start)}{comment}{newline}" for comment in comments_in(text, value))
    return f"{text[:start]}{above}{text[start:colon]} {written}{kept}{text[value.end :]}"


def _appended(text: str, key: Part, apps: Part, fields: Mapping[str, Value]) -> str:
    last = apps.items[-1]
    if apps.is_flow:
        return f"{text[: last.end]}, {_flow(dict(fields))}{text[last.end :]}"
    dash = _dash(text, key, apps, len(apps.items) - 1)
    column = _column(text, dash)
    item = _block_item(fields, column, text)
    above = text[apps.items[-2].end : dash].splitlines()[1:-1] if len(apps.items) > 1 else []
    if not all(map(str.strip, above)):
        item = _newline(text) + item  # apps are apart by an empty line
    return _below(text, _behind(text, last.end, column), item)


def _first(text: str, key: Part, value: Part, fields: Mapping[str, Value]) -> str:
    """The first app, where `apps` is empty."""
    column = _column(text, key.start)
    item = _block_item(fields, column + _STEP, text)
    end = line_end(text, value.end)
    rest = text[value.end : end].strip()
    if value.items or (rest and not rest.startswith("#")):
        raise CannotEditError(f"{_APPS}: is not written as a list")
    colon = text.index(":", key.end) + 1
    head = text[:colon] + (f" {rest}" if rest else "") + _newline(text)
    return _below(head + text[end:], len(head), item)


def _added_list(text: str, root: Part, fields: Mapping[str, Value]) -> str:
    """The list of apps behind the other fields of the file."""
    column = _column(text, root.pairs[0][0].start)
    lines = f"{' ' * column}{_APPS}:{_newline(text)}{_block_item(fields, column + _STEP, text)}"
    return _below(text, line_end(text, root.end), lines)


def _below(text: str, at: int, lines: str) -> str:
    """Lines put in where a line begins, or at the end of the text."""
    newline = _newline(text)
    before = text[:at]
    if before and not before.endswith(("\n", "\r")):
        before += newline
    return f"{before}{lines}{newline}{text[at:]}"


def _behind(text: str, at: int, column: int) -> int:
    """Where the line after an app begins, and after the comments that are indented as what is in it."""
    at = line_end(text, at)
    while at < len(text):
        end = line_end(text, at)
        line = text[at:end]
        indent = len(line) - len(line.lstrip(" "))
        if not line[indent:].startswith("#") or indent <= column:
            break
        at = end
    return at


def _dash(text: str, key: Part, apps: Part, index: int) -> int:
    """Where the dash before an app is."""
    at = apps.items[index - 1].end if index else text.index(":", key.end) + 1
    while at < apps.items[index].start:
        end = line_end(text, at)
        line = text[at:end]
        indent = len(line) - len(line.lstrip(" "))
        if line[indent:].startswith("-"):
            return at + indent
        at = end
    raise CannotEditError(f"{_APPS}[{index}]: has no dash of its own")


def _column(text: str, at: int) -> int:
    return at - line_start(text, at)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _block_item(fields: Mapping[str, Value], column: int, text: str) -> str:
    lines = [f"{_flow(name)}: {_flow(value, bare=True)}" for name, value in fields.items()]
    indent = " " * column
    return _newline(text).join(f"{indent}{'  ' if number else '- '}{line}" for number, line in enumerate(lines))


class _Dumper(yaml.SafeDumper):
    """Everything on one line, and nothing by anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _flow(value: Value, *, bare: bool = False) -> str:
    """A value on one line. `bare`: it will not stand in brackets."""
    whole = value if bare and not isinstance(value, dict | list | tuple) else [value]
    written = yaml.dump(
        whole, Dumper=_Dumper, default_flow_style=True, width=1 << 30, allow_unicode=True, sort_keys=False
    ).removesuffix("...\n")
    written = written.strip("\n")
    return written[1:-1] if isinstance(whole, list) else written
