"""Decodes HPACK blocks into heads and trailers (RFC 7541). Pure.

The static table and the Huffman code are from the hpack library. Its decoder is not used, because it copies the rest of the block
for each literal, which takes quadratic time for a hostile block, and logs every field.

A block that does not change the dynamic table has the same meaning until the table changes, so its result is cached by its bytes:
a block that is repeated costs one look-up.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hpack.exceptions import HPACKError
from hpack.table import HeaderTable

from interceptor.core.messages import Field, Fields
from interceptor.http2.core.config import DEFAULT_TABLE, Config
from interceptor.http2.core.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFault
from interceptor.http2.core.header_rules import NO_NAMES, Head, Malformed, Rules
from interceptor.http2.core.huffman import decode

__all__ = ["MAX_BLOCKS", "MAX_REMEMBERED_BLOCK", "BlockReader"]

MAX_BLOCKS: Final = 64
"""Cached blocks of one connection; when the cache is full, it is cleared. A client sends few different blocks repeatedly."""
MAX_REMEMBERED_BLOCK: Final = 512
"""Maximum bytes of a cached block. A block of 20 indexed fields has 20 to 40."""
OVER: Final = 4
"""Up to this many times the allowed fields are decoded, to keep the table equal to the peer's; beyond it the connection ends."""
ENTRY_BYTES: Final = 32
"""Overhead that each entry counts in addition to its bytes (RFC 7541 4.1)."""
MAX_SIZE_UPDATES: Final = 2
"""Maximum size updates at the start of a block (RFC 7541 4.2)."""
MAX_SHIFT: Final = 28
"""Maximum shift of an integer: a larger value cannot be a valid length or index."""
SHORTEST_CODE: Final = 30
"""Bits of the longest Huffman code: n coded bytes decode to at least n * 8/30 bytes."""

_STATIC: Final[dict[int, Field]] = dict(enumerate(HeaderTable.STATIC_TABLE, 1))
_STATIC_LENGTH: Final = 61


class BlockReader:
    """The decoder of one connection. All blocks must be decoded, in the order in which they were received."""

    __slots__ = ("_allowed", "_config", "_entries", "_limit", "_rules", "_used", "changes", "heads", "over", "trailers")

    def __init__(self, config: Config) -> None:
        self._config = config
        self._entries: deque[Field] = deque()
        """Entries of the dynamic table, newest first."""
        self._used = 0
        self._limit = DEFAULT_TABLE
        """Size of the table in bytes, chosen by the peer, at most `_allowed`."""
        self._allowed = max(config.table, DEFAULT_TABLE)
        """Maximum size of the table. Until the peer has acknowledged our SETTINGS it may use the default."""
        self._rules = Rules()
        self.heads: dict[bytes, Head] = {}
        self.trailers: dict[bytes, Fields] = {}
        self.changes = 0
        """How often the table was changed."""
        self.over = False
        """Whether the last block had more fields or bytes than allowed."""

    def agree(self) -> None:
        """The peer has acknowledged our SETTINGS: if its table is too large, the next block must begin with a smaller size."""
        self._allowed = self._config.table

    def request(self, block: bytes) -> Head:
        """Decode the head of a request. Raises Malformed and ConnectionFault."""
        changes = self.changes
        fields, never = self.fields(block)
        head = self._rules.request(fields, never, connect=self._config.connect, too_large=self.over)
        return self._remember(block, head, changes)

    def response(self, block: bytes) -> Head:
        """Decode the head of a response. Raises Malformed and ConnectionFault."""
        changes = self.changes
        fields, never = self.fields(block)
        if self.over:
            raise Malformed("more fields than are allowed")
        return self._remember(block, self._rules.response(fields, never), changes)

    def trailer(self, block: bytes) -> Fields:
        """Decode trailers. Raises Malformed and ConnectionFault."""
        changes = self.changes
        fields, _ = self.fields(block)
        if self.over:
            raise Malformed("more fields than are allowed")
        trailers = self._rules.trailers(fields)
        if changes == self.changes and len(block) <= MAX_REMEMBERED_BLOCK:
            if len(self.trailers) >= MAX_BLOCKS:
                self.trailers.clear()
            self.trailers[block] = trailers
        return trailers

    def _remember(self, block: bytes, head: Head, changes: int) -> Head:
        if changes == self.changes and len(block) <= MAX_REMEMBERED_BLOCK and not head.too_large:
            if len(self.heads) >= MAX_BLOCKS:
                self.heads.clear()
            self.heads[block] = head
        return head

    def fields(self, block: bytes) -> tuple[list[Field], frozenset[bytes]]:
        """Decode a block: the list, and the names in it that must never be indexed. Raises ConnectionFault."""
        try:
            return self._read(block)
        except (HPACKError, LookupError) as error:
            raise ConnectionFault(COMPRESSION_ERROR, "a block of fields that cannot be read") from error

    def _read(self, block: bytes) -> tuple[list[Field], frozenset[bytes]]:
        entries = self._entries
        at, end, left, count = 0, len(block), self._config.list_size, 0
        most = self._config.fields
        fields: list[Field] = []
        never: list[bytes] = []
        self.over = False
        if end and block[0] & 0xE0 == 0x20:
            at = self._resize(block)
        if self._limit > self._allowed:
            raise ConnectionFault(COMPRESSION_ERROR, "the table was not made smaller")
        while at < end:
            byte = block[at]
            if byte >= 0x80:
                at += 1
                index = byte & 0x7F
                if index == 0x7F:
                    index, at = _integer(block, at, 0x7F)
                field = _STATIC[index] if index <= _STATIC_LENGTH else entries[index - 62]
            else:
                field, at = self._literal(block, at)
                if byte & 0xF0 == 0x10:
                    never.append(field[0])
            count += 1
            name, value = field
            left -= len(name) + len(value) + ENTRY_BYTES
            if left >= 0 and count <= most:
                fields.append(field)
            else:
                self._exceed(count)
        return fields, frozenset(never) if never else NO_NAMES

    def _exceed(self, count: int) -> None:
        """A field beyond the limits, decoded only to keep the table correct. Raises ConnectionFault if there are far too many."""
        self.over = True
        if count > self._config.fields * OVER:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "far more fields than are allowed")

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
            name = self._entries[index - 62][0]
        elif index:
            name = _STATIC[index][0]
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
                self._entries.appendleft(field)
            self._forget()
        return field, at

    def _shrink(self, size: int) -> None:
        """Evict entries until the table has at most `size` bytes or is empty (RFC 7541 4.3, 4.4)."""
        entries = self._entries
        while entries and self._used > size:
            name, value = entries.pop()
            self._used -= len(name) + len(value) + ENTRY_BYTES

    def _forget(self) -> None:
        """Clear the caches: the table has changed, and with it the meaning of blocks."""
        self.changes += 1
        if self.heads:
            self.heads.clear()
        if self.trailers:
            self.trailers.clear()


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
