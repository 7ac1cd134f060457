"""Decodes the Huffman code of header fields, byte by byte (RFC 7541 5.2). Pure.

The hpack library's state machine reads four bits per step. Here two of its steps are combined into one, when first needed; usual
traffic needs a few hundred of these.
"""

from __future__ import annotations

from typing import Final

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

__all__ = ["MAX_STEPS", "decode"]

MAX_STEPS: Final = 8192
"""Maximum cached steps for all connections, of 65536 possible ones: about 1 MB. Further steps are computed each time."""

_steps: Final[dict[int, tuple[int, bytes, bool]]] = {}
"""By state << 8 | byte: the next state << 8, the decoded bytes, and whether the text may end there."""


def decode(text: bytes) -> bytes:
    """The decoded text. Raises HPACKDecodingError."""
    state, whole = 0, True
    read: list[bytes] = []
    try:
        for byte in text:
            state, out, whole = _steps[state | byte]
            read.append(out)
    except KeyError:
        return _decode_anew(text)
    if not whole:
        raise HPACKDecodingError("Huffman's code without its end")
    return b"".join(read)


def _decode_anew(text: bytes) -> bytes:
    """The same with steps that are not cached."""
    state, whole = 0, True
    read: list[bytes] = []
    for byte in text:
        state, out, whole = _steps.get(state | byte) or _step(state, byte)
        read.append(out)
    if not whole:
        raise HPACKDecodingError("Huffman's code without its end")
    return b"".join(read)


def _step(state: int, byte: int) -> tuple[int, bytes, bool]:
    after, out, flags = state >> 8, b"", 0
    for half in (byte >> 4, byte & 0x0F):
        after, flags, symbol = HUFFMAN_TABLE[after * 16 + half]
        if flags & HUFFMAN_FAIL:
            raise HPACKDecodingError("not Huffman's code")
        if flags & HUFFMAN_EMIT_SYMBOL:
            out += bytes((symbol,))
    step = (after << 8, out, flags & HUFFMAN_COMPLETE != 0)
    if len(_steps) < MAX_STEPS:
        _steps[state | byte] = step
    return step
