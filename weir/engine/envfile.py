"""Parser for files of environment variables: one NAME=value per line, the usual syntax of `.env` files. Reads text only.

$NAME is not expanded here; only $PORT is replaced, later, as in an app's own env. A value of several lines is written with \\n.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from weir.engine.fields import port_is_given

__all__ = ["EnvFileError", "parse_env"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class EnvFileError(Exception):
    """Everything that is wrong in the file: line (from 1) and reason."""

    def __init__(self, faults: list[tuple[int, str]]) -> None:
        super().__init__("; ".join(f"line {line}: {reason}" for line, reason in faults))
        self.faults = faults


def parse_env(text: str) -> Mapping[str, str]:
    """The variables. If a name occurs twice, the last line wins. Raises EnvFileError."""
    variables: dict[str, str] = {}
    faults: list[tuple[int, str]] = []
    for number, line in _lines(text):
        try:
            name, value = _variable(line)
            variables[name] = value
        except ValueError as error:
            faults.append((number, str(error)))
    if faults:
        raise EnvFileError(faults)
    return variables


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _variable(line: str) -> tuple[str, str]:
    name, equals, value = line.removeprefix("export ").partition("=")
    name = name.strip()
    if not equals:
        raise ValueError(f"{name[:80]!r}: should be NAME=value")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} should be the name of an environment variable")
    value = _value(value.strip(), name)
    if "\0" in value:
        raise ValueError(f"{name}: has a NUL, which no environment can carry")
    if name == "PORT":
        raise ValueError(f"PORT: {port_is_given(value)}")
    return name, value


def _value(written: str, name: str) -> str:
    quote = written[:1]
    if quote not in ("'", '"'):
        plain = written.partition(" #")[0] if not written.startswith("#") else ""
        return plain.rstrip()
    end = _closing(written, quote)
    rest = written[end + 1 :].strip()
    if end < 0 or (rest and not rest.startswith("#")):
        raise ValueError(f"{name}: the quote {quote} does not end at the end of the value")
    inner = written[1:end]
    return inner if quote == "'" else _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[1]), inner)


def _closing(written: str, quote: str) -> int:
    """Index of the quote that closes the one at the start, or -1."""
    position = 1
    while position < len(written):
        if written[position] == "\\" and quote == '"':
            position += 1
        elif written[position] == quote:
            return position
        position += 1
    return -1
