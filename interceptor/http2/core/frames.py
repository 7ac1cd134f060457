"""HTTP/2 frames as bytes (RFC 9113 4 and 6): types, flags, error codes, and encoders. Pure."""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "ACK",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "ENHANCE_YOUR_CALM",
    "FLOW_CONTROL_ERROR",
    "FRAME_SIZE_ERROR",
    "GOAWAY",
    "HEADERS",
    "HEAD_SIZE",
    "INTERNAL_ERROR",
    "LARGEST_FRAME",
    "LARGEST_ID",
    "LARGEST_WINDOW",
    "LAST_HEADERS",
    "NO_ERROR",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FIELDS",
    "PROTOCOL_ERROR",
    "PUSH_PROMISE",
    "REFUSED_STREAM",
    "RST_STREAM",
    "SETTINGS",
    "SMALLEST_MAX_FRAME",
    "STREAM_CLOSED",
    "WINDOW_UPDATE",
    "ConnectionFault",
    "frame",
    "goaway",
    "pack_head",
    "read_head",
    "read_number",
    "reset",
    "settings",
    "window_update",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes that a client sends (3.4)."""

HEAD_SIZE: Final = 9
SMALLEST_MAX_FRAME: Final = 1 << 14
LARGEST_FRAME: Final = (1 << 24) - 1
LARGEST_ID: Final = (1 << 31) - 1
LARGEST_WINDOW: Final = (1 << 31) - 1

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
LAST_HEADERS: Final = END_HEADERS | END_STREAM
"""The flags of a head that is the whole message, and of trailers."""
PADDED: Final = 0x8
PRIORITY_FIELDS: Final = 0x20

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

_HEAD: Final = Struct(">IBI")
"""Length and type in one number, flags, stream."""
_NUMBER: Final = Struct(">I")
_SETTING: Final = Struct(">HI")

read_head: Final = _HEAD.unpack_from
"""Reads (length << 8 | type, flags, stream with the reserved bit) at an offset."""


pack_head: Final = _HEAD.pack
"""Encodes the same values."""


class ConnectionFault(Exception):
    """A connection error of the peer (5.4.1)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def goaway(last: int, code: int, debug: bytes) -> bytes:
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last) + _NUMBER.pack(code) + debug)


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def read_number(payload: bytes, at: int = 0) -> int:
    """A 32-bit number at an offset."""
    number: int = _NUMBER.unpack_from(payload, at)[0]
    return number
