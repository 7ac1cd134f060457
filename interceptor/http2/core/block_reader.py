"""Decodes HPACK blocks into heads and trailers (RFC 7541). Pure.

The static table and the Huffman code are from the hpack library. Its decoder is not used, because it copies the rest of the block
for each literal, which takes quadratic time for a hostile block, and logs every field.

A block that does not change the dynamic table has the same meaning until the table changes, so its result is cached by its bytes:
a block that is repeated costs one look-up. Encoders that put a call's deadline into the table (grpc-go) change it in each block.
So the deadline is taken out of the head, and the result of the rest is cached by its fields. A block that repeats a deadline of
the table, as those of calls in the same millisecond do, is cached with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from operator import itemgetter
from typing import Final

from hpack.exceptions import HPACKError
from hpack.table import HeaderTable

from interceptor.core.messages import Field, Fields
from interceptor.http2.core.config import DEFAULT_TABLE, ENTRY_BYTES, Config
from interceptor.http2.core.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFault
from interceptor.http2.core.header_rules import NO_NAMES, Head, Malformed, Rules
from interceptor.http2.core.huffman import decode

__all__ = ["DEADLINE", "MAX_BLOCKS", "MAX_REMEMBERED_BLOCK", "BlockReader"]

MAX_BLOCKS: Final = 64
"""Cached blocks of one connection; when the cache is full, it is cleared. A client sends few different blocks repeatedly."""
MAX_REMEMBERED_BLOCK: Final = 512
"""Maximum bytes of a cached block. A block of 20 indexed fields has 20 to 40."""
MAX_REMEMBERED_LIST: Final = 4096
"""Maximum bytes of a list whose head is remembered: a short block may name large fields of the table, many times."""
OVER: Final = 4
"""Up to this many times the allowed fields are decoded, to keep the table equal to the peer's; beyond it the connection ends."""
MAX_SIZE_UPDATES: Final = 2
"""Maximum size updates at the start of a block (RFC 7541 4.2)."""
MAX_SHIFT: Final = 28
"""Maximum shift of an integer: a larger value cannot be a valid length or index."""
SHORTEST_CODE: Final = 30
"""Bits of the longest Huffman code: n coded bytes decode to at least n * 8/30 bytes."""

_STATIC: Final[tuple[Field, ...]] = tuple(HeaderTable.STATIC_TABLE)
_STATIC_LENGTH: Final = 61
TABLE_START: Final = 0x80
"""Position of index 0 in a list of entries: so the byte of a short index is the position of its field."""
_STATIC_TABLE: Final[tuple[Field, ...]] = ((b"", b""),) * (TABLE_START + 1) + _STATIC
LARGEST_STATIC: Final = max(len(name) + len(value) for name, value in _STATIC) + ENTRY_BYTES
DEADLINE: Final = b"grpc-timeout"
"""A field that has another value in every request of a call with a deadline."""
_is_deadline: Final = re.compile(rb"[0-9]{1,8}[HMSmun]").fullmatch
_name_of: Final = itemgetter(0)
_indexes: Final = re.compile(rb"[\x81-\xfe]+").match
"""Indexes of one byte each."""


class BlockReader:
    """The decoder of one connection. All blocks must be decoded, in the order in which they were received."""

    __slots__ = (
        "_allowed", "_config", "_indexes_deadlines", "_known", "_largest", "_limit", "_rules", "_table", "_timed", "_used",
        "changes", "deadline", "heads", "over", "timed", "trailers",
    )  # fmt: skip

    def __init__(self, config: Config) -> None:
        self._config = config
        self._table: list[Field] = [*_STATIC_TABLE]
        """By TABLE_START + index: the static table, and the entries of the dynamic one, newest first."""
        self._largest = LARGEST_STATIC
        """The size of the largest entry so far."""
        self._used = 0
        self._limit = DEFAULT_TABLE
        """Size of the table in bytes, chosen by the peer, at most `_allowed`."""
        self._allowed = max(config.table, DEFAULT_TABLE)
        """Maximum size of the table. Until the peer has acknowledged our SETTINGS it may use the default."""
        self._rules = Rules()
        self.heads: dict[bytes, Head] = {}
        self.timed: dict[bytes, tuple[Head, bytes]] = {}
        """Heads without their deadline, and that, of blocks that have it from the table."""
        self.trailers: dict[bytes, Fields] = {}
        self.changes = 0
        """How often the table was changed."""
        self._known: dict[Fields, Head] = {}
        """Heads by their fields. Unlike the meaning of blocks, that does not change with the table, which some encoders change in
        every block."""
        self._timed = False
        """Whether a deadline is among the literals of the last block."""
        self._indexes_deadlines = False
        """Whether a deadline was ever put into the table."""
        self.deadline = b""
        self.over = False
        """Whether the last block had more fields or bytes than allowed."""

    def agree(self) -> None:
        """The peer has acknowledged our SETTINGS: if its table is too large, the next block must begin with a smaller size."""
        self._allowed = self._config.table

    def request(self, block: bytes) -> Head:
        """Decode the head of a request. Raises Malformed and ConnectionFault. `deadline` is then the value of a grpc-timeout that
        is not among the fields of the head."""
        timed = self.timed.get(block)
        if timed is not None:
            self.deadline = timed[1]
            return timed[0]
        changes = self.changes
        try:
            fields, never = self._read(block)
        except (HPACKError, LookupError) as error:
            raise _unreadable() from error
        if (self._timed or self._indexes_deadlines) and not self.over and DEADLINE not in never:
            self._take_deadline(fields)
        key = tuple(fields)
        head = self._known.get(key)
        if head is None or never or self.over:
            head = self._rules.request(fields, never, connect=self._config.connect, too_large=self.over)
            if self.over or not _are_short(fields):
                return head
            if not never:
                if len(self._known) >= MAX_BLOCKS:
                    self._known.clear()
                self._known[key] = head
        if not self.deadline:
            return self._remember(block, head, changes)
        return head if self._timed else self._remember_timed(block, head, changes)

    def _take_deadline(self, fields: list[Field]) -> None:
        """Take the deadline out of the fields, unless there is another one, or it stands before a pseudo-field, which is for the
        rules to refuse."""
        names = [*map(_name_of, fields)]
        if names.count(DEADLINE) != 1:
            return
        at = names.index(DEADLINE)
        value = fields[at][1]
        if _is_deadline(value) and (at + 1 == len(names) or names[at + 1][:1] != b":"):
            self.deadline = value
            del fields[at]

    def _remember_timed(self, block: bytes, head: Head, changes: int) -> Head:
        if changes == self.changes and len(block) <= MAX_REMEMBERED_BLOCK:
            if len(self.timed) >= MAX_BLOCKS:
                self.timed.clear()
            self.timed[block] = head, self.deadline
        return head

    def response(self, block: bytes) -> Head:
        """Decode the head of a response. Raises Malformed and ConnectionFault."""
        changes = self.changes
        fields, never = self.fields(block)
        if self.over:
            raise Malformed("more fields than are allowed")
        head = self._rules.response(fields, never)
        return self._remember(block, head, changes) if _are_short(fields) else head

    def trailer(self, block: bytes) -> Fields:
        """Decode trailers. Raises Malformed and ConnectionFault."""
        changes = self.changes
        fields, _ = self.fields(block)
        if self.over:
            raise Malformed("more fields than are allowed")
        trailers = self._rules.trailers(fields)
        if changes == self.changes and len(block) <= MAX_REMEMBERED_BLOCK and _are_short(fields):
            if len(self.trailers) >= MAX_BLOCKS:
                self.trailers.clear()
            self.trailers[block] = trailers
        return trailers

    def _remember(self, block: bytes, head: Head, changes: int) -> Head:
        if changes == self.changes and len(block) <= MAX_REMEMBERED_BLOCK:
            if len(self.heads) >= MAX_BLOCKS:
                self.heads.clear()
            self.heads[block] = head
        return head

    def fields(self, block: bytes) -> tuple[list[Field], frozenset[bytes]]:
        """Decode a block: the list, and the names in it that must never be indexed. Raises ConnectionFault."""
        try:
            return self._read(block)
        except (HPACKError, LookupError) as error:
            raise _unreadable() from error

    def _read(self, block: bytes) -> tuple[list[Field], frozenset[bytes]]:
        at, end = 0, len(block)
        most = self._config.fields
        fields: list[Field] = []
        never: list[bytes] = []
        self.over = False
        self.deadline, self._timed = b"", False
        if end and block[0] & 0xE0 == 0x20:
            at = self._resize(block)
        if self._limit > self._allowed:
            raise ConnectionFault(COMPRESSION_ERROR, "the table was not made smaller")
        while at < end:
            byte = block[at]
            if byte >= 0x80:
                at = self._indexed(fields, block, at)
            else:
                field, at = self._literal(block, at)
                fields.append(field)
                if byte & 0xF0 == 0x10:
                    never.append(field[0])
                elif field[0] == DEADLINE:
                    self._timed = True
            if len(fields) > most * OVER:
                raise _far_too_many()
        size = len(fields) * self._largest + 2 * end  # at most: no string is twice as long as its code
        if len(fields) > most or size > self._config.list_size:
            fields = self._bounded(fields)
        return fields, frozenset(never) if never else NO_NAMES

    def _indexed(self, fields: list[Field], block: bytes, at: int) -> int:
        """Add the fields of the indexes that follow, at least of one. Returns where they end."""
        if block[at] == 0xFF:
            index, at = _integer(block, at + 1, 0x7F)
            fields.append(self._table[TABLE_START + index])
            return at
        found = _indexes(block, at)
        if found is None:
            raise ConnectionFault(COMPRESSION_ERROR, "an index of zero")
        end = found.end()
        if end - at > self._config.fields * OVER:
            raise _far_too_many()
        fields += map(self._table.__getitem__, block[at:end])
        return end

    def _bounded(self, fields: list[Field]) -> list[Field]:
        """The fields within the limits, if there may be more; the rest was decoded only to keep the table correct."""
        left, kept = self._config.list_size, []
        for field in fields[: self._config.fields]:
            left -= len(field[0]) + len(field[1]) + ENTRY_BYTES
            if left >= 0:
                kept.append(field)
        self.over = len(kept) < len(fields)
        return kept

    def _resize(self, block: bytes) -> int:
        """Apply table size updates at the start of a block. Returns where they end."""
        at = updates = 0
        while at < len(block) and block[at] & 0xE0 == 0x20:
            size, at = _prefixed(block, at, 0x1F)
            updates += 1
            if size > self._allowed or updates > MAX_SIZE_UPDATES:
                raise ConnectionFault(COMPRESSION_ERROR, "a size of the table that is not allowed")
            self._limit = size
            self._shrink(size)
            self._forget()
        return at

    def _literal(self, block: bytes, at: int) -> tuple[Field, int]:
        byte = block[at]
        if byte & 0xE0 == 0x20:
            raise ConnectionFault(COMPRESSION_ERROR, "a size of the table within a block")
        indexed = byte & 0x40
        mask = 0x3F if indexed else 0x0F
        at += 1
        index = byte & mask
        if index == mask:
            index, at = _integer(block, at, mask)
        if index > _STATIC_LENGTH:
            name = self._table[TABLE_START + index][0]
        elif index:
            name = _STATIC[index - 1][0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        field = (name, value)
        if indexed:
            size = len(name) + len(value) + ENTRY_BYTES
            if self._used + size > self._limit:
                self._shrink(self._limit - size)
            if size <= self._limit:
                self._used += size
                self._table.insert(TABLE_START + _STATIC_LENGTH + 1, field)
                self._largest = max(self._largest, size)
            self._forget()
            if name == DEADLINE:
                self._indexes_deadlines = True
        return field, at

    def _shrink(self, size: int) -> None:
        """Evict entries until the table has at most `size` bytes or is empty (RFC 7541 4.3, 4.4)."""
        table = self._table
        while self._used > size and self._used:
            name, value = table.pop()
            self._used -= len(name) + len(value) + ENTRY_BYTES

    def _forget(self) -> None:
        """Clear the caches: the table has changed, and with it the meaning of blocks."""
        self.changes += 1
        if self.heads:
            self.heads.clear()
        if self.timed:
            self.timed.clear()
        if self.trailers:
            self.trailers.clear()


def _are_short(fields: Collection[Field]) -> bool:
    return sum(len(name) + len(value) + ENTRY_BYTES for name, value in fields) <= MAX_REMEMBERED_LIST


def _unreadable() -> ConnectionFault:
    return ConnectionFault(COMPRESSION_ERROR, "a block of fields that cannot be read")


def _far_too_many() -> ConnectionFault:
    return ConnectionFault(ENHANCE_YOUR_CALM, "far more fields than are allowed")


def _prefixed(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer whose first byte also holds a pattern (RFC 7541 5.1), and where it ends."""
    number = block[at] & mask
    if number < mask:
        return number, at + 1
    return _integer(block, at + 1, mask)


def _integer(block: bytes, at: int, number: int) -> tuple[int, int]:
    """The rest of an integer after a full prefix, and where it ends."""
    shift = 0
    while True:
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > MAX_SHIFT:
            raise ConnectionFault(COMPRESSION_ERROR, "an integer that is too long")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string literal, and where it ends (RFC 7541 5.2)."""
    byte = block[at]
    at += 1
    coded = byte & 0x80
    length = byte & 0x7F
    if length == 0x7F:
        length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise ConnectionFault(COMPRESSION_ERROR, "a string that is longer than its block")
    text = block[at:end]
    return (decode(text) if coded else text), end
