"""Encodes field lists as HPACK blocks (RFC 7541). Pure.

A field is added to the dynamic table when it is sent for the second time, so fields that differ each time (an id, a deadline, a
length) are never added. After a few messages most blocks do not change the table any more; such blocks are cached as a whole.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hpack.table import HeaderTable

from interceptor.core.messages import Field, Fields
from interceptor.http2.core.block_reader import DEADLINE
from interceptor.http2.core.config import DEFAULT_TABLE, ENTRY_BYTES
from interceptor.http2.core.header_rules import NO_NAMES

__all__ = ["EVICTION_INTERVAL", "MAX_BLOCKS", "MAX_SEEN", "BlockWriter", "deadline_literal"]

MAX_BLOCKS: Final = 64
"""Cached blocks of one connection; when the cache is full, it is cleared."""
MAX_REMEMBERED_FIELDS: Final = 64
"""Maximum fields in a list whose block is cached."""
MAX_KEPT_BLOCK: Final = 2048
"""Maximum bytes of a cached block. A large one has cookies or tokens, which are not kept after their client has gone."""
MAX_SEEN: Final = 256
"""Remembered fields that were sent once; when there are more, all are forgotten."""
EVICTION_INTERVAL: Final = 64
"""Minimum blocks between two additions that evict other entries from the table, because each invalidates all cached blocks."""
MAX_ENTRY: Final = 512
"""Maximum size of a field that is added to the table: a few long ones would evict all others."""

_SECRETS: Final = frozenset({b"authorization", b"cookie", b"set-cookie", b"proxy-authorization"})
"""Fields that are never added to the table. A backend connection carries many clients' requests: with a shared table, the length
of a block would show a client whether it has guessed another client's secret (RFC 7541 7.1.3)."""


def _integer(number: int, mask: int, pattern: int) -> bytes:
    """An integer whose first byte has `pattern` in its upper bits (RFC 7541 5.1)."""
    if number < mask:
        return bytes((pattern | number,))
    out = bytearray((pattern | mask,))
    number -= mask
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_INDEXED: Final[dict[Field, bytes]] = {
    field: _integer(at, 0x7F, 0x80) for at, field in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))
}
_STATIC_NAMES: Final[dict[bytes, int]] = {name: at for at, (name, _) in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}
_INDEXES: Final[tuple[bytes, ...]] = tuple(_integer(number, 0x7F, 0x80) for number in range(62, 62 + 128))
"""Encoded indexes of the dynamic table, newest first. An entry counts at least 33 bytes, so there are fewer than 128."""
_LENGTHS: Final[tuple[bytes, ...]] = tuple(_integer(number, 0x7F, 0) for number in range(256))


def _string(text: bytes) -> bytes:
    """A string literal, without Huffman coding: that would save a fifth of the few literals, but take more time than the rest."""
    size = len(text)
    return (_LENGTHS[size] if size < 256 else _integer(size, 0x7F, 0)) + text


def _name(name: bytes, mask: int, pattern: int) -> bytes:
    """The beginning of a literal field: its name."""
    at = _STATIC_NAMES.get(name, 0)
    return _integer(at, mask, pattern) if at else bytes((pattern,)) + _string(name)


_NAMES: Final[dict[bytes, bytes]] = {name: _name(name, 0x0F, 0) for name in _STATIC_NAMES}


_DEADLINE: Final = b"\x00" + _string(DEADLINE)


def deadline_literal(value: bytes) -> bytes:
    """A grpc-timeout at the end of a block, which does not change the table."""
    return _DEADLINE + _LENGTHS[len(value)] + value


class BlockWriter:
    """The encoder of one connection. All blocks must be sent, in the order in which they were encoded."""

    __slots__ = (
        "_entries", "_inserted", "_new", "_numbers", "_seen", "_since", "_smallest", "_used", "block", "blocks", "fields",
        "limit", "tail", "trailers",
    )  # fmt: skip

    def __init__(self) -> None:
        self.blocks: dict[Fields, bytes] = {}
        self.fields: Fields | None = None
        """The last list that was found in `blocks`: that it is the same object is seen sooner than that it is equal."""
        self.block = b""
        """The block of these."""
        self.trailers: Fields | None = None
        """The same of trailers, which follow each other no more often than heads do."""
        self.tail = b""
        self.limit = DEFAULT_TABLE
        """Size of the table in bytes."""
        self._used = 0
        self._entries: deque[Field] = deque()
        """Entries of the table, oldest first."""
        self._numbers: dict[Field, int] = {}
        """The insertion number of each entry."""
        self._inserted = 0
        self._smallest = -1
        """The smallest limit since the last block, to be sent before the current limit in the next block; below 0 if nothing has
        to be sent."""
        self._seen: set[Field] = set()
        self._since = EVICTION_INTERVAL
        self._new = False
        """Whether the block contains a field for the first time: it will be encoded differently the next time."""

    def resize(self, smallest: int, size: int) -> None:
        """The peer has set the table size to `size` bytes, and to `smallest` in between (RFC 7541 4.2)."""
        size, smallest = min(size, DEFAULT_TABLE), min(size, smallest)
        if size == self.limit and smallest == size:
            return
        self._smallest = smallest if self._smallest < 0 else min(self._smallest, smallest)
        self.limit = size
        self._shrink(smallest)
        self._forget()

    def find(self, fields: Fields) -> bytes:
        """The block of a list, if it is not that of `fields`."""
        block = self.blocks.get(fields)
        if block is None:
            return self.encode(fields)
        self.fields, self.block = fields, block
        return block

    def find_tail(self, trailers: Fields) -> bytes:
        """The same for `trailers`."""
        block = self.blocks.get(trailers)
        if block is None:
            return self.encode(trailers)
        self.trailers, self.tail = trailers, block
        return block

    def _forget(self) -> None:
        """Blocks that were made before are not valid any more."""
        self.blocks.clear()
        self.fields = self.trailers = None

    def encode(self, fields: Fields, never: frozenset[bytes] = NO_NAMES) -> bytes:
        """Encode a list. Fields with a name in `never` are marked as never to be indexed (RFC 7541 6.2.3)."""
        inserted = self._inserted
        self._since += 1
        self._new = False
        pieces: list[bytes] = []
        if self._smallest >= 0:
            if self._smallest < self.limit:
                pieces.append(_integer(self._smallest, 0x1F, 0x20))
            pieces.append(_integer(self.limit, 0x1F, 0x20))
            self._smallest = inserted = -1
        numbers = self._numbers
        for field in fields:
            if never and field[0] in never:
                pieces.append(self._literal(field, never))
                continue
            known = _INDEXED.get(field)
            if known is None:
                number = numbers.get(field)
                known = self._literal(field, never) if number is None else _INDEXES[self._inserted - number]
            pieces.append(known)
        block = b"".join(pieces)
        settled = inserted == self._inserted and not never and not self._new
        if settled and len(fields) <= MAX_REMEMBERED_FIELDS and len(block) <= MAX_KEPT_BLOCK:
            if len(self.blocks) >= MAX_BLOCKS:
                self._forget()
            self.blocks[fields] = block
        return block

    def _literal(self, field: Field, never: frozenset[bytes]) -> bytes:
        name, value = field
        if name in never or name in _SECRETS:
            return _name(name, 0x0F, 0x10) + _string(value)
        if field in self._seen and self._add(field):
            self._seen.discard(field)
            return _name(name, 0x3F, 0x40) + _string(value)
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        if field not in self._seen:
            self._seen.add(field)
            self._new = True
        return (_NAMES.get(name) or _name(name, 0x0F, 0)) + _string(value)

    def _add(self, field: Field) -> bool:
        """Add a field to the table, if it is small enough and evicts nothing too soon. Returns whether it was added."""
        size = len(field[0]) + len(field[1]) + ENTRY_BYTES
        if size > MAX_ENTRY or size > self.limit:
            return False
        if self._used + size > self.limit:
            if self._since < EVICTION_INTERVAL:
                return False
            self._since = 0
            self._shrink(self.limit - size)
        self._used += size
        self._inserted += 1
        self._entries.append(field)
        self._numbers[field] = self._inserted
        self._forget()
        return True

    def _shrink(self, size: int) -> None:
        while self._used > size:
            field = self._entries.popleft()
            del self._numbers[field]
            self._used -= len(field[0]) + len(field[1]) + ENTRY_BYTES
