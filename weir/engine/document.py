"""A YAML document as plain values with the line of each.

Parses text only: opens no files, and knows the meaning of no field. Faults name the line and the field. All faults are reported
together, unless the text is not valid YAML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Document", "DocumentError", "Fault", "Path", "field_name", "parse_document"]

Path = tuple[str | int, ...]
"""Position of a value: mapping keys and list indexes, from the outermost to the innermost."""

MAX_DEPTH = 32
"""Maximum nesting depth. A file of apps needs five; the limit stops an alias that contains itself."""
MAX_VALUES = 2_000_000
"""Maximum number of values, counting an alias each time it is used: nested aliases can expand to more than fits into memory."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a document: the line (from 1), the value, the reason."""

    line: int
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.line}: {field_name(self.path)}: {self.reason}" if self.path else f"{self.line}: {self.reason}"


class DocumentError(Exception):
    """The text is not a YAML document; nothing else can be checked."""

    def __init__(self, line: int, path: Path, reason: str) -> None:
        self.fault = Fault(line, path, reason)
        super().__init__(str(self.fault))


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a document and the line of each. Values that could not be read are None."""

    value: Any
    lines: dict[Path, int]
    faults: tuple[Fault, ...] = ()

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a value; for a value that was not written, the line of the nearest enclosing one."""
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
        raise DocumentError(mark.line + 1 if mark else 1, (), _broken(error)) from error
    except yaml.YAMLError as error:
        raise DocumentError(1, (), " ".join(str(error).split())) from error
    except RecursionError as error:
        raise DocumentError(1, (), f"is deeper than {MAX_DEPTH} levels") from error
    if node is None:
        return Document(value={}, lines={(): 1})
    reader = _Reader()
    value = reader.read(node, (), node.start_mark.line + 1)
    return Document(value=value, lines=reader.lines, faults=tuple(reader.faults))


_WORDS = {
    "but found another document": "begins another document, and a file is one: take out the line ---",
    "found character '\\t'": "is indented with a tab, and YAML takes spaces only",
    "mapping values are not allowed here": "has a colon where none may be: quote a text that has one, and indent fields alike",
    "expected <block end>": "is not indented as what it belongs to",
    "found unexpected end of stream": "is the end, and something is not closed",
}
"""Messages of the YAML parser, reworded for the author of the file."""


def _broken(error: yaml.MarkedYAMLError) -> str:
    """The message for invalid YAML, with the place where the problem began: PyYAML detects an unclosed quote only at the end
    of the file."""
    problem, began = error.problem or str(error), error.context_mark
    problem = next((words for sign, words in _WORDS.items() if problem.startswith(sign)), problem)
    doing, _, what = (error.context or "").partition("ing ")
    if began is None or error.problem_mark is None or began.line == error.problem_mark.line or not doing.startswith("while "):
        return problem
    return f"{problem}: {what.replace('scalar', 'text')}, which begins on line {began.line + 1}"


_UNREADABLE = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError)
"""What the YAML loader may raise for a value that does not fit its tag; it does not validate values first."""


class _Reader:
    """Converts nodes to values, and collects their lines and faults."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []
        self._values = 0
        # Used only for the constructors of scalars and merge keys; it loads no stream.
        self._constructor = yaml.SafeLoader("")

    def read(self, node: yaml.Node, path: Path, line: int) -> Any:
        if len(path) > MAX_DEPTH:
            raise DocumentError(line, path[:3], f"is deeper than {MAX_DEPTH} levels")
        self._values += 1
        if self._values > MAX_VALUES:
            raise DocumentError(line, path, f"makes more than {MAX_VALUES} values of the file")
        self.lines[path] = line
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, line)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index), item.start_mark.line + 1) for index, item in enumerate(node.value)]
        return self._scalar(node, path, line)

    def _wrong(self, line: int, path: Path, reason: str) -> None:
        self.faults.append(Fault(line, path, reason))

    def _mapping(self, node: yaml.MappingNode, path: Path, line: int) -> dict[str, Any]:
        own = self._own_keys(node, path)
        try:
            self._constructor.flatten_mapping(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            self._wrong(mark.line + 1 if mark else line, (*path, "<<"), error.problem or str(error))
        entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            # Merged keys come first, and are overridden by the mapping's own keys.
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != _MERGE and own.get(key_node.value, key_node) is key_node:
                entries[key_node.value] = (key_node, value_node)
        node.value = [*entries.values()]  # so that another alias of this node gets the merged mapping
        return {key: self.read(value, (*path, key), name.start_mark.line + 1) for key, (name, value) in entries.items()}

    def _own_keys(self, node: yaml.MappingNode, path: Path) -> dict[str, yaml.Node]:
        """The keys written in this mapping itself, without merged ones. Duplicate keys are a fault; YAML would silently use
        the last."""
        own: dict[str, yaml.Node] = {}
        kept = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._wrong(line, path, "has a key that is not a plain word")
            elif not _is_whole(key_node.value):
                self._wrong(line, path, f"has a key that cannot be read: {key_node.value[:80]!r}")
            elif key_node.value in own:
                self._wrong(line, (*path, key_node.value), "is written twice")
            else:
                kept.append((key_node, value_node))
                if key_node.tag != _MERGE:
                    own[key_node.value] = key_node
        node.value = kept
        return own

    def _scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        try:
            value = self._constructor.construct_object(node)
            return _whole(value) if isinstance(value, str) else value
        except _UNREADABLE:
            self._wrong(line, path, f"is not a value that can be read: {node.value[:80]!r}")
            return None


_MERGE = "tag:yaml.org,2002:merge"


def _whole(text: str) -> str:
    """Decode escaped surrogate pairs. A single surrogate or a NUL raises ValueError: neither can be part of a command or a
    file name."""
    if "\0" in text:
        raise ValueError("a NUL")
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


def _is_whole(text: str) -> bool:
    try:
        return bool(_whole(text)) or not text
    except ValueError:
        return False
