"""Large documents in small steps: JSON of many rows made one row at a time, with turns of the event loop between.

What is shown may change meanwhile: each row is what it is when it is read, and no row is read twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from fleet.runtime.terminal import escaped

__all__ = ["Pairs", "Rows", "joined", "json_parts"]

PARTS_AT_ONCE = 64
BYTES_AT_ONCE = 32 << 10
"""Made before the event loop has a turn: a millisecond's work either way, for which a request that comes meanwhile waits."""


class Rows:
    """An array whose members are read one at a time."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self.rows = rows


class Pairs:
    """An object whose members are read one at a time."""

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.pairs = pairs


def json_parts(value: Any) -> Iterator[bytes]:
    """JSON of a value; rows and pairs may be the value itself, or members of mappings. Acts on no terminal."""
    if isinstance(value, Rows):
        yield from _listed(b"[]", map(_encoded, value.rows))
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
    """All of them, made in small steps; parts may be empty."""
    whole = bytearray()
    while (some := _some(parts)) is not None:
        whole += some
        await asyncio.sleep(0)
    return bytes(whole)


def _some(parts: Iterator[bytes]) -> bytes | None:
    """As many as are made in one step; None when there are no more."""
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
        yield (b"," if begun else brackets[:1]) + member
        begun = True
    yield brackets[1:] if begun else brackets
