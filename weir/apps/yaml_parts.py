"""Where the parts of a YAML text are: each value with its first and its last character. Pure.

A parser's tree of values does not say that: an alias has the place of its anchor there, and a list ends where the next thing
begins, behind the comments in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

__all__ = ["MAPPING", "SCALAR", "SEQUENCE", "Part", "comments_in", "line_end", "line_start", "parts_of"]

MAPPING, SEQUENCE, SCALAR, ALIAS = "mapping", "sequence", "scalar", "alias"
_COMMENT = re.compile(r"#[^\r\n]*")
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(slots=True)
class Part:
    """A value: the text from `start` to `end`, without comments before and behind it."""

    kind: str
    start: int
    end: int
    is_flow: bool = True
    """Whether it is written in brackets; a scalar, whether it is no block of lines ("|", ">")."""
    value: str = ""
    """Of a scalar."""
    pairs: list[tuple[Part, Part]] = field(default_factory=list)
    """Of a mapping."""
    items: list[Part] = field(default_factory=list)
    """Of a sequence."""

    def pair(self, key: str) -> tuple[Part, Part] | None:
        """The key and the value that are written in this mapping itself."""
        return next(((name, value) for name, value in self.pairs if name.kind == SCALAR and name.value == key), None)

    def leaves(self) -> Iterator[Part]:
        """Those without parts of their own, in their order, keys included."""
        if not self.pairs and not self.items:
            yield self
        for name, value in self.pairs:
            yield from name.leaves()
            yield from value.leaves()
        for item in self.items:
            yield from item.leaves()


def parts_of(text: str) -> Part | None:
    """The parts of a text that is one YAML document; None if it is empty. Raises yaml.YAMLError."""
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            return _part(next(events), events, text)
    return None


def _part(event: yaml.Event, events: Iterator[yaml.Event], text: str) -> Part:
    start, end = _at(event.start_mark), _at(event.end_mark)
    if isinstance(event, yaml.AliasEvent):
        return Part(ALIAS, start, end)
    if isinstance(event, yaml.ScalarEvent):
        is_block = event.style in ("|", ">")
        return Part(SCALAR, start, len(text[:end].rstrip("\r\n")) if is_block else end, not is_block, event.value)
    if isinstance(event, yaml.MappingStartEvent):
        whole = Part(MAPPING, start, end, bool(event.flow_style))
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            whole.pairs.append((_part(event, events, text), _part(next(events), events, text)))
        last = whole.pairs[-1][1] if whole.pairs else None
    else:
        whole = Part(SEQUENCE, start, end, bool(isinstance(event, yaml.SequenceStartEvent) and event.flow_style))
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            whole.items.append(_part(event, events, text))
        last = whole.items[-1] if whole.items else None
    whole.end = _at(event.end_mark) if whole.is_flow or last is None else last.end
    return whole


def _at(mark: Any) -> int:
    """Where that is in the text."""
    return int(mark.index)


def line_start(text: str, at: int) -> int:
    """Where the line of a character begins."""
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def line_end(text: str, at: int) -> int:
    """Where the next line begins, or the end of the text."""
    found = _LINE_BREAK.search(text, at)
    return found.end() if found else len(text)


def comments_in(text: str, part: Part) -> list[str]:
    """The comments within a part: what stands between its leaves, where "#" can only begin a comment."""
    found, at = [], part.start
    for leaf in part.leaves():
        found += _COMMENT.findall(text, at, leaf.start)
        at = leaf.end
    return [*found, *_COMMENT.findall(text, at, part.end)]
