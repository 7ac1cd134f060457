"""The limits of this side of a connection, and the peer's SETTINGS (RFC 9113 6.5). Pure."""

from __future__ import annotations

from struct import iter_unpack
from typing import Final

from interceptor.core.sizes import MAX_REQUEST_FIELDS, MAX_REQUEST_HEAD
from interceptor.http2.core.frames import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    PROTOCOL_ERROR,
    SMALLEST_MAX_FRAME,
    ConnectionFault,
)

__all__ = ["DEFAULT_TABLE", "DEFAULT_WINDOW", "MAX_SETTINGS", "Config", "PeerSettings"]

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8

DEFAULT_TABLE: Final = 4096
ENTRY_BYTES: Final = 32
"""Overhead that each entry of a table counts in addition to its bytes (RFC 7541 4.1)."""
DEFAULT_WINDOW: Final = 65535
UNLIMITED: Final = 1 << 32
MAX_SETTINGS: Final = 64
"""Maximum settings in one frame. Six are defined, and clients add one or two unknown ones; a frame has room for 2730."""


class Config:
    """The configuration of one side. Streams and windows limit its memory: a peer can make us buffer `streams * window` bytes of
    unread data, but not more than `connection_window`.

    For client connections `connection_window` is a few times `window`: clients can only block themselves. A backend connection
    is shared by many clients, so it should be `streams * window`: then slow readers of some streams cannot block the others.
    """

    __slots__ = ("connect", "connection_window", "fields", "frame", "list_size", "streams", "table", "window")

    def __init__(
        self,
        *,
        streams: int = 128,
        window: int = 1 << 16,
        connection_window: int = 1 << 20,
        list_size: int = MAX_REQUEST_HEAD,
        fields: int = MAX_REQUEST_FIELDS,
        table: int = DEFAULT_TABLE,
        frame: int = SMALLEST_MAX_FRAME,
        connect: bool = False,
    ) -> None:
        if not DEFAULT_WINDOW <= window <= LARGEST_WINDOW or not DEFAULT_WINDOW <= connection_window <= LARGEST_WINDOW:
            # A peer may use the default before it has received ours, so a smaller window would need separate accounting.
            raise ValueError("windows are 65535 to 2**31 - 1 bytes")
        if not SMALLEST_MAX_FRAME <= frame <= LARGEST_FRAME:
            raise ValueError("frames are 2**14 to 2**24 - 1 bytes")
        self.streams = streams
        """Maximum open streams: opened by the peer on a server; by us on a client, if the peer does not allow fewer."""
        self.window = window
        """Receive window of a stream: bytes that its reader has not consumed."""
        self.connection_window = connection_window
        """Receive window of the connection: bytes that the readers of all streams have not consumed."""
        self.list_size = list_size
        """Maximum bytes of one field list (6.5.2), and of its encoded block."""
        self.fields = fields
        """Maximum fields in one list."""
        self.table = table
        """Bytes of the dynamic table for decoding the peer's fields."""
        self.frame = frame
        """The longest payload of a frame that we accept."""
        self.connect = connect
        """Whether a client may request another protocol (extended CONNECT, RFC 8441)."""

    def settings(self, *, client: bool) -> dict[int, int]:
        """The settings to send to the peer."""
        values = {
            HEADER_TABLE_SIZE: self.table,
            INITIAL_WINDOW_SIZE: self.window,
            MAX_FRAME_SIZE: self.frame,
            MAX_HEADER_LIST_SIZE: self.list_size,
        }
        if client:
            values[ENABLE_PUSH] = 0
        else:
            values[MAX_CONCURRENT_STREAMS] = self.streams
            if self.connect:
                values[ENABLE_CONNECT_PROTOCOL] = 1
        return values


class PeerSettings:
    """The peer's current settings, initially the defaults."""

    __slots__ = ("connect", "frame", "list_size", "smallest_table", "streams", "table", "window")

    def __init__(self) -> None:
        self.table = self.smallest_table = DEFAULT_TABLE
        """Bytes of the peer's dynamic table for decoding our fields, and the smallest value in the last SETTINGS frame."""
        self.streams = UNLIMITED
        self.window = DEFAULT_WINDOW
        self.frame = SMALLEST_MAX_FRAME
        self.list_size = UNLIMITED
        self.connect = False

    def update(self, payload: bytes, *, from_server: bool) -> None:
        """Apply the settings of one frame, in order. Raises ConnectionFault."""
        if len(payload) % 6:
            raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of a length that is no multiple of six")
        if len(payload) > MAX_SETTINGS * 6:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"more than {MAX_SETTINGS} settings in one frame")
        self.smallest_table = self.table
        for key, value in iter_unpack(">HI", payload):
            self._set(key, value, from_server=from_server)

    def _set(self, key: int, value: int, *, from_server: bool) -> None:
        code = _fault(key, value, self, from_server=from_server)
        if code:
            raise ConnectionFault(code, f"setting {key} of a value that it cannot have")
        if key == HEADER_TABLE_SIZE:
            self.table = value
            self.smallest_table = min(self.smallest_table, value)
        elif key == MAX_CONCURRENT_STREAMS:
            self.streams = value
        elif key == INITIAL_WINDOW_SIZE:
            self.window = value
        elif key == MAX_FRAME_SIZE:
            self.frame = value
        elif key == MAX_HEADER_LIST_SIZE:
            self.list_size = value
        elif key == ENABLE_CONNECT_PROTOCOL:
            self.connect = bool(value)


def _fault(key: int, value: int, peer: PeerSettings, *, from_server: bool) -> int:
    """The error code for an invalid value (6.5.2; RFC 8441 3), or 0."""
    if key == INITIAL_WINDOW_SIZE:
        return FLOW_CONTROL_ERROR if value > LARGEST_WINDOW else 0
    good = (
        (key != ENABLE_PUSH or value <= (0 if from_server else 1))
        and (key != MAX_FRAME_SIZE or SMALLEST_MAX_FRAME <= value <= LARGEST_FRAME)
        and (key != ENABLE_CONNECT_PROTOCOL or peer.connect <= value <= 1)
    )
    return 0 if good else PROTOCOL_ERROR
