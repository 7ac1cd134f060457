"""Large JSON documents generated row by row, with turns of the event loop in between.

The data may change meanwhile: each row shows its state when it is read, and no row is read twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from fleet.runtime.terminal import escaped

__all__ = ["Pairs", "Rows", "joined", "json_parts"]

PARTS_AT_ONCE: Final = 64
BYTES_AT_ONCE: Final = 32 << 10
"""Bytes generated per turn of the event loop: about a millisecond, during which other work waits."""


class Rows:
    """An array whose members are read one at a time. A member of None is a step of the iteration that has no row."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self.rows = rows


class Pairs:
    """An object whose members are read one at a time."""

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.pairs = pairs


def json_parts(value: Any) -> Iterator[bytes]:
    """Parts of the JSON of a value; Rows and Pairs may be the value itself, or members of mappings. Control characters are
    escaped."""
    if isinstance(value, Rows):
        yield from _listed(b"[]", (b"" if row is None else _encoded(row) for row in value.rows))
    elif isinstance(value, Pairs):
        yield from _listed(b"{}", (b"%b:%b" % (_encoded(key), _encoded(member)) for key, member in value.pairs))
    elif isinstance(value, Mapping):
        yield b"{"
        for number, (key, member) in enumerate(value.items()):
            yield b"%b%b:" % (b"," if number else b"", _encoded(key))
            yield from json_parts(member)
        yield b"}"
    else:
        yield _encoded(value)


async def joined(parts: Iterator[bytes]) -> bytes:
    """Generate all parts in small steps, and join them; parts may be empty."""
    whole = bytearray()
    while (some := _some(parts)) is not None:
        whole += some
        await asyncio.sleep(0)
    return bytes(whole)


def _some(parts: Iterator[bytes]) -> bytes | None:
    """As many parts as fit one step; None when there are no more."""
    made: list[bytes] = []
    size = 0
    for part in parts:
        made.append(part)
        size += len(part)
        if len(made) >= PARTS_AT_ONCE or size >= BYTES_AT_ONCE:
            break
    return b"".join(made) if made else None


def _encoded(value: Any) -> bytes:
    return escaped(msgspec.json.encode(value))


def _listed(brackets: bytes, members: Iterable[bytes]) -> Iterator[bytes]:
    begun = False
    for member in members:
        yield (b"," if begun else brackets[:1]) + member if member else b""
        begun = begun or bool(member)
    yield brackets[1:] if begun else brackets
