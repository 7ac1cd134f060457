"""Values of diagnostics pages as text for people, generated row by row like the JSON of the same pages.

An object is a line "name: value" for each member; one inside another is indented. A row whose members are all simple takes one
line, so that `grep` finds it. Long texts are cut: the JSON has them whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from fleet.runtime.documents import Pairs, Rows
from fleet.runtime.terminal import one_line

__all__ = ["LONGEST_TEXT", "text_parts"]

LONGEST_TEXT: Final = 300
"""Characters of one value; a route's page may have a million."""
_STEP: Final = "  "
_NOTHING: Final = "-"


def text_parts(value: Any, indent: str = "") -> Iterator[bytes]:
    """Parts of the text of a value; Rows and Pairs may be the value itself, or members of mappings."""
    if isinstance(value, Rows):
        yield from _some((b"" if row is None else _encoded(_row(_plain(row), indent)) for row in value.rows), indent)
    elif isinstance(value, Pairs):
        yield from _some((_encoded(_member(key, _plain(member), indent)) for key, member in value.pairs), indent)
    elif isinstance(value, Mapping):
        for key, member in value.items():
            if isinstance(member, Rows | Pairs):
                yield _encoded([f"{indent}{_shown(key)}:"])
                yield from text_parts(member, indent + _STEP)
            else:
                yield _encoded(_member(key, _plain(member), indent))
    else:
        yield _encoded(_block(_plain(value), indent))


def _some(parts: Iterator[bytes], indent: str) -> Iterator[bytes]:
    """The parts, or a line that says that there are none."""
    begun = False
    for part in parts:
        yield part
        begun = begun or bool(part)
    if not begun:
        yield _encoded([f"{indent}none"])


def _plain(value: Any) -> Any:
    """Structs as mappings, and everything else as JSON would have it; but tuples stay tuples."""
    return msgspec.to_builtins(value)


def _block(value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping):
        return [line for key, member in value.items() for line in _member(key, member, indent)] or [f"{indent}{_NOTHING}"]
    if isinstance(value, list | tuple):
        return [line for row in value for line in _row(row, indent)] or [f"{indent}{_NOTHING}"]
    return [f"{indent}{_shown(value)}"]


def _member(key: Any, value: Any, indent: str) -> list[str]:
    if value and isinstance(value, Mapping | list | tuple):
        if isinstance(value, Mapping) and _is_flat(value):
            return [f"{indent}{_shown(key)}: {_line(value)}"]
        return [f"{indent}{_shown(key)}:", *_block(value, indent + _STEP)]
    return [f"{indent}{_shown(key)}: {_shown(value)}"]


def _row(value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping) and not _is_flat(value):
        first, *rest = _block(value, indent + _STEP)
        return [f"{indent}- {first[len(indent) + len(_STEP) :]}", *rest]
    if isinstance(value, list | tuple) and value:
        return [f"{indent}-", *_block(value, indent + _STEP)]
    return [f"{indent}- {_line(value) if isinstance(value, Mapping) else _shown(value)}"]


def _is_flat(value: Mapping[str, Any]) -> bool:
    return not any(member and isinstance(member, Mapping | list | tuple) for member in value.values())


def _line(value: Mapping[str, Any]) -> str:
    return "  ".join(f"{_shown(key)}: {_shown(member)}" for key, member in value.items()) or _NOTHING


def _shown(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, Sequence | Mapping) and not value):
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return one_line(text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text)} characters)")


def _encoded(lines: list[str]) -> bytes:
    return "".join([f"{line}\n" for line in lines]).encode(errors="replace")
