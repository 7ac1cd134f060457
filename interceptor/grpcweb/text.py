"""Base64 in pieces, as gRPC-Web in text sends it: whoever flushes ends a piece, so padding may be anywhere. Pure."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Final

__all__ = ["MAX_PIECES", "TextDecoder", "encode_text"]

MAX_PIECES: Final = 256
"""Padded pieces in one read. Each costs some 0.3 µs, and could be four bytes long; senders make one for each message, or one for
the whole body."""


class TextDecoder:
    """Decodes one body. Raises ValueError for what is not base64."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""
        """Less than four characters, which have no meaning yet."""

    def feed(self, data: bytes | memoryview) -> bytes:
        """Decode as much as possible."""
        text = self._rest + bytes(data)
        whole = len(text) & ~3
        text, self._rest = text[:whole], text[whole:]
        pieces: list[bytes] = []
        at = 0
        while (found := text.find(b"=", at, whole - 2)) >= 0:
            if found & 3 < 2:
                raise ValueError("padding where there is no content")
            end = (found | 3) + 1
            pieces.append(a2b_base64(text[at:end], strict_mode=True))
            at = end
            if len(pieces) > MAX_PIECES:
                raise ValueError(f"more than {MAX_PIECES} padded pieces at once")
        pieces.append(a2b_base64(text[at:], strict_mode=True))
        return b"".join(pieces)

    def finish(self) -> None:
        """That was all."""
        if self._rest:
            raise ValueError("the length is not a multiple of four")


def encode_text(data: bytes | memoryview) -> bytes:
    """One piece, so that its receiver can decode all of it at once."""
    return b2a_base64(data, newline=False)
