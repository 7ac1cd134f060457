"""A YAML document as plain values that remember their lines.

Reads text only: no files, and no meaning of any field. Errors name the line and the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Document", "DocumentError", "Path", "field_name", "parse_document"]

Path = tuple[str | int, ...]
"""Where a value stands: keys of mappings and indexes of lists, from the outside in."""

MAX_DEPTH = 32
"""Levels of a document. A file of apps needs five; an alias that contains itself would never end."""
MAX_VALUES = 2_000_000
"""Values of a document, those of aliases each time. A few aliases of aliases make more of them than a machine can hold."""


class DocumentError(Exception):
    """The text is not the document it should be: the line (from 1), the field, the reason."""

    def __init__(self, line: int, field: str, reason: str) -> None:
        super().__init__(f"{line}: {field}: {reason}" if field else f"{line}: {reason}")
        self.line, self.field, self.reason = line, field, reason


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a document, and the line on which each was written."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a value, or of the nearest one around it when it was not written at all."""
        written = tuple(path)
        while written not in self.lines and written:
            written = written[:-1]
        return self.lines.get(written, 1)


def field_name(path: Sequence[str | int]) -> str:
    """A path as people write it: apps[1].max."""
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def parse_document(text: str) -> Document:
    """Parse one YAML document. Raises DocumentError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DocumentError(mark.line + 1 if mark else 1, "", error.problem or str(error)) from error
    except yaml.YAMLError as error:
        raise DocumentError(1, "", " ".join(str(error).split())) from error
    except RecursionError as error:
        raise DocumentError(1, "", f"is deeper than {MAX_DEPTH} levels") from error
    if node is None:
        return Document(value={}, lines={(): 1})
    reader = _Reader()
    return Document(value=reader.read(node, (), node.start_mark.line + 1), lines=reader.lines)


_UNREADABLE = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError)
"""What the loader raises for a value that is not of the type that its tag claims; it does not look before it leaps."""


class _Reader:
    """Turns nodes into values and notes their lines."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self._values = 0
        # The loader's own constructor knows scalars and merge keys; it is never given a stream to load.
        self._constructor = yaml.SafeLoader("")

    def read(self, node: yaml.Node, path: Path, line: int) -> Any:
        if len(path) > MAX_DEPTH:
            raise DocumentError(line, field_name(path[:3]), f"is deeper than {MAX_DEPTH} levels")
        self._values += 1
        if self._values > MAX_VALUES:
            raise DocumentError(line, field_name(path), f"makes more than {MAX_VALUES} values of the file")
        self.lines[path] = line
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, line)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index), item.start_mark.line + 1) for index, item in enumerate(node.value)]
        return self._scalar(node, path, line)

    def _mapping(self, node: yaml.MappingNode, path: Path, line: int) -> dict[str, Any]:
        own = _own_keys(node, path)
        try:
            self._constructor.flatten_mapping(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            raise DocumentError(
                mark.line + 1 if mark else line, field_name((*path, "<<")), error.problem or str(error)
            ) from error
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            # What was merged in stands first and yields to what this mapping says itself.
            if key in own and own[key] is not key_node:
                continue
            value[key] = self.read(value_node, (*path, key), line)
        return value

    def _scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        try:
            value = self._constructor.construct_object(node)
            return _whole(value) if isinstance(value, str) else value
        except _UNREADABLE as error:
            raise DocumentError(line, field_name(path), f"is not a value that can be read: {node.value[:80]!r}") from error


def _whole(text: str) -> str:
    """A text whose escapes are characters: of the two halves in which JSON writes some, one alone is none, and nothing that
    starts a process or names a file takes a NUL. Raises ValueError."""
    if "\0" in text:
        raise ValueError("a NUL")
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


def _own_keys(node: yaml.MappingNode, path: Path) -> dict[str, yaml.Node]:
    """The keys that the mapping itself writes, merge keys aside. YAML would let the last of two equal ones win."""
    own: dict[str, yaml.Node] = {}
    for key_node, _ in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise DocumentError(line, field_name(path), "has a key that is not a plain word")
        try:
            _whole(key_node.value)
        except ValueError as error:
            raise DocumentError(line, field_name(path), f"has a key that cannot be read: {key_node.value[:80]!r}") from error
        if key_node.value in own:
            raise DocumentError(line, field_name((*path, key_node.value)), "is written twice")
        if key_node.tag != "tag:yaml.org,2002:merge":
            own[key_node.value] = key_node
    return own
